"""Images as exemplars of a concept, or of what is harmless, for what is easier shown than said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.texts import Concept
from latent_guard.errors import InputError


def with_exemplars(bank: ConceptBank, concept: Concept, shown: Tensor, ordinary: Tensor) -> ConceptBank:
    """Add a concept to a bank: the mean of image features that show it, moved to where texts lie.

    In CLIP the embeddings of images and of texts lie in two cones apart (Liang et al. 2022, "Mind the gap"), so an
    image would resemble any image more than the text that names it. The centroid of ``ordinary`` image features (m, D)
    is taken off and that of the benign texts put in its place, so that a concept shown scores like one that is named.
    Thresholds and their calibration held for the bank as it was: they are 0 and None until they are set again.

    Args:
        bank: of the same Latent-CLIP as the features.
        concept: what the images show.
        shown: features (n, D) of images that show it.
        ordinary: features (m, D) of images that do not.

    Raises:
        InputError: no image of one of the kinds, or a concept that the bank has.
    """
    if concept in bank.concepts:
        raise InputError(f"the bank has the concept {concept.prompt!r} ({concept.category}) already; name it otherwise")
    if not len(shown) or not len(ordinary):
        kind = "exemplar" if not len(shown) else "ordinary image to compare it with"
        raise InputError(f"the concept {concept.prompt!r} ({concept.category}) has no {kind}; add some")
    embedding = _among_texts(bank, normalize(shown.float(), dim=-1).mean(0), ordinary)
    concepts = (*bank.concepts, concept)
    return replace(
        bank,
        concepts=concepts,
        embeddings=torch.cat([bank.embeddings, embedding]),
        noise_levels=torch.zeros(1),
        thresholds=torch.zeros(len({c.category for c in concepts}), 1),
        calibration=None,
    )


def with_examples(
    bank: ConceptBank, unsafe: Mapping[Concept, Tensor], harmless: Mapping[str, Tensor], ordinary: Tensor
) -> ConceptBank:
    """Add single images to a bank: unsafe ones as concepts, harmless ones as benign anchors, each on its own.

    They are no one thing, so that their mean would resemble none of them: as anchors, means changed nothing, where
    single images moved false alarms like them below what is unsafe. Features are moved, and thresholds and calibration
    are lost, as in ``with_exemplars``.

    Args:
        bank: of the same Latent-CLIP as the features.
        unsafe: features (D,) of each image that shows something unsafe, by the concept that it is to be.
        harmless: features (D,) of each harmless image, by its name among the benign prompts.
        ordinary: features (m, D) of images that show nothing unsafe.

    Raises:
        InputError: no ordinary image, or a name that the bank has.
    """
    if taken := [*(unsafe.keys() & set(bank.concepts)), *(harmless.keys() & set(bank.benign_prompts))]:
        raise InputError(f"the bank has {taken[0]} already; name it otherwise")
    if not len(ordinary):
        raise InputError("there is no ordinary image to compare examples with; add some")

    def rows(features: Iterable[Tensor]) -> list[Tensor]:
        return [_among_texts(bank, normalize(one.float(), dim=-1), ordinary) for one in features]

    concepts = (*bank.concepts, *unsafe)
    return replace(
        bank,
        concepts=concepts,
        embeddings=torch.cat([bank.embeddings, *rows(unsafe.values())]),
        benign_prompts=(*bank.benign_prompts, *harmless),
        benign=torch.cat([bank.benign, *rows(harmless.values())]),
        noise_levels=torch.zeros(1),
        thresholds=torch.zeros(len({c.category for c in concepts}), 1),
        calibration=None,
    )


def _among_texts(bank: ConceptBank, shown: Tensor, ordinary: Tensor) -> Tensor:
    """An image feature (D,), moved to where texts lie: (1, D)."""
    usual = normalize(ordinary.float(), dim=-1).mean(0)
    return normalize(shown - usual + bank.benign.mean(0), dim=0).cpu()[None]
