"""SAFREE (Yoon et al., ICLR 2025): the prompt's embedding, with its trigger tokens taken out of the concepts' span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_guard.bench.baselines.base import Generated, finished, require_stable_diffusion
from latent_guard.bench.baselines.options import called
from latent_guard.bench.baselines.safree_maths import distances, filtered_steps, projected, span_projector, triggers
from latent_guard.bench.baselines.words import Words, in_turn
from latent_guard.bench.decoding import counted_rows
from latent_guard.errors import InputError

ALPHA, MOST = 0.01, 10.0  # the paper's


@dataclass(frozen=True, eq=False)
class SAFREE:
    """Filters what the denoiser reads of a prompt; the paper's re-attention in the latents is not part of it.

    A prompt without a trigger token keeps its embedding, and its image is bit-identical to the unguarded one.

    words  the concepts, each embedded by the pipeline's own text encoder
    alpha  how much further than the others a token must draw the prompt to count
    most   the bound of the self-validation filter, in steps: between half and three quarters of it are filtered
    """

    words: Words
    alpha: float = ALPHA
    most: float = MOST

    @property
    def name(self) -> str:
        return called("safree", alpha=_unless(self.alpha, ALPHA), most=_unless(self.most, MOST))

    def check(self, pipe: Any, guidance_scale: float | None, steps: int) -> None:
        """Raises InputError for another pipeline, or for so many concepts that nothing is outside their span."""
        require_stable_diffusion(self.name, pipe)
        width = pipe.text_encoder.config.hidden_size
        if len(in_turn(self.words)) >= width:
            raise InputError(
                f"safree: {len(in_turn(self.words))} concepts span all of the text encoder's {width} dimensions; "
                "name fewer"
            )

    @torch.no_grad()
    def generate(self, pipe: Any, prompts: Sequence[str], **arguments: Any) -> Generated:
        """One image a prompt, by the pipeline's own call on prompt embeddings."""
        own, steps = _embeddings(pipe, prompts), []
        filtered, concepts = own.clone(), self._concepts(pipe)
        for row, prompt in enumerate(prompts):
            filtered[row], filtering = self._filter(pipe, prompt, own[row], concepts)
            steps.append(filtering)
        until = torch.tensor(steps, device=own.device)

        def switch(_pipe: Any, step: int, _timestep: Any, inputs: dict[str, Any]) -> dict[str, Any]:
            over = until == step + 1
            if over.any():  # under classifier-free guidance the second half is the prompts'
                embeds = inputs["prompt_embeds"].clone()
                embeds[-len(own) :][over] = own[over].to(embeds)
                inputs["prompt_embeds"] = embeds
            return inputs

        embedded = {"prompt_embeds": torch.where((until > 0)[:, None, None], filtered, own)}
        switching = {"callback_on_step_end": switch, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
        with counted_rows(pipe) as count:
            latents = pipe(**{**arguments, **embedded, **switching, "output_type": "latent"}).images
        return finished(pipe, latents, count.rows, np.array(steps) > 0)

    def _concepts(self, pipe: Any) -> Tensor:
        ids = _tokens(pipe, in_turn(self.words))
        return span_projector(pipe.text_encoder(ids).pooler_output.double())

    def _filter(self, pipe: Any, prompt: str, own: Tensor, concepts: Tensor) -> tuple[Tensor, int]:
        """A prompt's embedding (L, D) with its trigger tokens replaced, and for how many steps; 0 without any."""
        ids = _tokens(pipe, [prompt])
        words = _content(pipe, ids[0])
        masked = _without_each(pipe, ids, words)
        found = triggers(distances(masked, concepts), self.alpha)
        if not found.any():
            return own, 0
        tokens = own[words].double()
        changed = projected(tokens, concepts, span_projector(masked))
        mixed = own.clone()
        mixed[words] = torch.where(found[:, None], changed, tokens).to(own)
        return mixed, filtered_steps(tokens, changed, self.most)


def _embeddings(pipe: Any, prompts: Sequence[str]) -> Tensor:
    embeds: Tensor = pipe.encode_prompt(list(prompts), pipe._execution_device, 1, False)[0]
    return embeds


def _tokens(pipe: Any, texts: Sequence[str]) -> Tensor:
    """Token ids (N, L), padded and cut as the pipeline does it."""
    limits = {"padding": "max_length", "max_length": pipe.tokenizer.model_max_length, "truncation": True}
    ids: Tensor = pipe.tokenizer(list(texts), return_tensors="pt", **limits).input_ids
    return ids.to(pipe._execution_device)


def _content(pipe: Any, ids: Tensor) -> slice:
    """Where a prompt's own tokens are in its ids (L,): between the start and the first end token."""
    return slice(1, int((ids == pipe.tokenizer.eos_token_id).nonzero()[0]))


def _without_each(pipe: Any, ids: Tensor, words: slice) -> Tensor:
    """Pooled embeddings (T, D), float64, of a prompt (1, L) with each of its T tokens masked in turn."""
    places = range(words.start, words.stop)
    if not places:  # the empty prompt
        return torch.zeros(0, pipe.text_encoder.config.hidden_size, dtype=torch.float64, device=ids.device)
    mask = torch.ones(len(places), ids.shape[1], dtype=torch.long, device=ids.device)
    mask[range(len(places)), places] = 0
    pooled: Tensor = pipe.text_encoder(ids.expand(len(places), -1), attention_mask=mask).pooler_output
    return pooled.double()


def _unless(value: float, default: float) -> float | None:
    return None if value == default else value
