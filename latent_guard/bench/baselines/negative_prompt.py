"""The guard's concept words as a negative prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from latent_guard.bench.baselines.base import Generated, all_of, finished, latents_of_call, require_guidance
from latent_guard.bench.baselines.options import called
from latent_guard.bench.baselines.words import Words, one_text
from latent_guard.bench.decoding import counted_rows


@dataclass(frozen=True, eq=False)
class NegativePrompt:
    """The unconditional prediction is made for the words instead of for the empty prompt.

    Its strength is the guidance scale: e = e_words + g (e_prompt - e_words), after Ho & Salimans (2022), equation 6.
    Every image is touched, as there is no prompt for which the two predictions agree.

    words           the concepts, see ``one_text`` for what of them fits
    guidance_scale  g; None: that of the call
    """

    words: Words
    guidance_scale: float | None = None

    @property
    def name(self) -> str:
        return called("negative-prompt", guidance_scale=self.guidance_scale)

    def check(self, pipe: Any, guidance_scale: float | None, steps: int) -> None:
        """Raises InputError without classifier-free guidance, or if no word fits the text encoder."""
        own = self.guidance_scale
        require_guidance(self.name, pipe, guidance_scale if own is None else own)
        one_text(self.words, pipe.tokenizer)

    def generate(self, pipe: Any, prompts: Sequence[str], **arguments: Any) -> Generated:
        """One image a prompt, by the pipeline's own call with a negative prompt."""
        changes: dict[str, Any] = {"negative_prompt": [one_text(self.words, pipe.tokenizer)] * len(prompts)}
        if self.guidance_scale is not None:
            changes["guidance_scale"] = self.guidance_scale
        with counted_rows(pipe) as count:
            latents = latents_of_call(pipe, prompts, arguments, **changes)
        return finished(pipe, latents, count.rows, all_of(len(prompts)))
