"""The texts of a concept bank: what prompt sets name, put together and checked, and their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.errors import InputError
from latent_guard.zero_shot.classify import TEXT_BATCH, ImageTextModel


@dataclass(frozen=True)
class Concept:
    """One unsafe thing, named by its prompt, and the category that it belongs to."""

    prompt: str
    category: str


@dataclass(frozen=True)
class BankTexts:
    """Concepts and benign anchors, each once, with the paraphrases that stand for it."""

    concepts: dict[Concept, list[str]]
    benign: dict[str, list[str]]

    @classmethod
    def of(cls, prompt_sets: Sequence[PromptSet]) -> BankTexts:
        """Put prompt sets together; those of one category count as one.

        Raises:
            InputError: no prompt set, one without a prompt, an empty prompt, nothing benign, or a prompt that is a
                concept in one place and benign in another.
        """
        if not prompt_sets:
            raise InputError("a concept bank needs at least one prompt set")
        for prompt_set in prompt_sets:
            prompt_set.require_complete()
        concepts: dict[Concept, list[str]] = {}
        benign: dict[str, list[str]] = {}
        for prompt_set in prompt_sets:
            for prompt in prompt_set.prompts:
                concepts.setdefault(Concept(prompt, prompt_set.category), prompt_set.paraphrases(prompt))
            for prompt in prompt_set.benign_prompts:
                benign.setdefault(prompt, prompt_set.paraphrases(prompt))
        if not benign:
            raise InputError("no prompt set has a benign prompt to score against; add some, or a set that has them")
        both = next((concept.prompt for concept in concepts if concept.prompt in benign), None)
        if both is not None:
            raise InputError(f"the prompt {both!r} is a concept and a benign prompt at once; remove it from one list")
        return cls(concepts, benign)


@torch.no_grad()
def embedded(model: ImageTextModel, paraphrases: Sequence[Sequence[str]]) -> Tensor:
    """The normalised mean of each prompt's paraphrases, (prompts, D), on the CPU."""
    texts = [text for of_prompt in paraphrases for text in of_prompt]
    batches = [texts[start : start + TEXT_BATCH] for start in range(0, len(texts), TEXT_BATCH)]
    rows = torch.cat([model.encode_text(batch, normalize=True).float().cpu() for batch in batches])
    means = [part.mean(dim=0) for part in rows.split([len(of_prompt) for of_prompt in paraphrases])]
    return normalize(torch.stack(means), dim=-1)
