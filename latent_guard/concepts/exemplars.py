"""Images as exemplars of a concept, for what is easier shown than said."""

from __future__ import annotations

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
    if not len(shown) or not len(ordinary):
        kind = "exemplar" if not len(shown) else "ordinary image to compare it with"
        raise InputError(f"the concept {concept.prompt!r} ({concept.category}) has no {kind}; add some")
    if concept in bank.concepts:
        raise InputError(f"the bank has the concept {concept.prompt!r} ({concept.category}) already; name it otherwise")
    showing = normalize(shown.float(), dim=-1).mean(0)
    usual = normalize(ordinary.float(), dim=-1).mean(0)
    embedding = normalize(showing - usual + bank.benign.mean(0), dim=0)
    concepts = (*bank.concepts, concept)
    return replace(
        bank,
        concepts=concepts,
        embeddings=torch.cat([bank.embeddings, embedding.cpu()[None]]),
        noise_levels=torch.zeros(1),
        thresholds=torch.zeros(len({c.category for c in concepts}), 1),
        calibration=None,
    )
