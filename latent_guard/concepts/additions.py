"""New concepts in words for a bank that is in use: none of its other scores and thresholds gets laxer by them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from latent_guard.concepts.bank import ConceptBank, Source
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.concepts.texts import Concept, embedded
from latent_guard.errors import InputError

if TYPE_CHECKING:
    from latent_guard.latent_clip.model import LatentCLIP


def with_concepts(bank: ConceptBank, model: LatentCLIP, added: PromptSet) -> ConceptBank:
    """Add the prompts of a set to a bank as concepts of its category.

    The thresholds of the bank's categories stay; a new category has the lowest of them at each noise level, as it was
    never calibrated. A phrase that was a benign anchor is one no longer, which can only raise scores.

    Args:
        bank: made by the model.
        model: whose text tower embeds.
        added: has no benign prompts: further anchors would lower the scores of all other categories.

    Raises:
        InputError: it has, or has no prompt, or only such as the bank has; or no anchor would be left.
    """
    added.require_complete()
    if added.benign_prompts:
        raise InputError("benign prompts would lower the scores of every category; build and calibrate another bank")
    new = [prompt for prompt in added.prompts if Concept(prompt, added.category) not in bank.concepts]
    if not new:
        raise InputError(f"the bank has these concepts of {added.category} already")
    kept = [row for row, prompt in enumerate(bank.benign_prompts) if prompt not in new]
    concepts = (*bank.concepts, *(Concept(prompt, added.category) for prompt in new))
    strictest = bank.thresholds.amin(dim=0, keepdim=True)
    is_new = added.category not in bank.categories
    source = Source(added.name, added.category, added.version, added.licence, added.templates)
    return replace(
        bank,
        concepts=concepts,
        embeddings=torch.cat([bank.embeddings, embedded(model, [added.paraphrases(prompt) for prompt in new])]),
        benign_prompts=tuple(bank.benign_prompts[row] for row in kept),
        benign=bank.benign[kept],
        thresholds=torch.cat([bank.thresholds, strictest]) if is_new else bank.thresholds,
        sources=(*bank.sources, source),
        calibration=None,
    )
