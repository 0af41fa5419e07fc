"""Scores of latents against a concept bank.

Shapes: B images, K categories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latent_guard.concepts.scoring import nearest_concepts, rows_of_each, thresholds_at
from latent_guard.errors import GuardError
from latent_guard.latent_clip.tokenizer import passages

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.latent_clip.model import LatentCLIP


_PASSAGES = 256  # of a text, in the text tower at a time
LENGTH_ERROR = 0.01  # half precision leaves a length of one within 1e-3
NOT_OF_LENGTH_ONE = "the guard's model gave an embedding that is not of length one"


def over(scores: Tensor, thresholds: Tensor) -> Tensor:
    """Which scores are not clearly under their thresholds: neither a NaN nor an infinity on either side is."""
    under = (scores <= thresholds) & scores.isfinite() & thresholds.isfinite()
    return ~under


def unsafe(scores: Tensor, thresholds: Tensor) -> Tensor:
    """Which images (B,) are over a threshold (K,) in some category (B, K)."""
    return over(scores, thresholds).any(dim=1)


class Scorer:
    """A Latent-CLIP and a concept bank, ready to score raw latents on the model's own device."""

    def __init__(self, model: LatentCLIP, bank: ConceptBank) -> None:
        parameter = next(model.parameters())
        self.device = parameter.device
        self._dtype = parameter.dtype
        self.categories = tuple(bank.categories)
        self.concepts = tuple(concept.prompt for concept in bank.concepts)
        self._model = model
        with torch.inference_mode(False):  # else no gradient could be taken through them outside of it
            self._reference = bank.reference().to(self.device)
            self._concepts = bank.embeddings.to(self.device).float().clone()
            self._members = tuple(rows.to(self.device) for rows in rows_of_each(bank.category_index))
            self._noise_levels = bank.noise_levels.cpu().float()
            self._thresholds = bank.thresholds.cpu().float()

    def scores(self, raw: Tensor, noise_level: float) -> Tensor:
        """Category scores (B, K), float32, of raw latents (B, C, H, W); differentiable."""
        return self._reference.scores(self.features(raw, noise_level))

    def check(self, raw: Tensor, noise_level: float) -> tuple[Tensor, Tensor]:
        """Category scores (B, K), and which of ``concepts`` is each category's nearest (B, K), on the CPU.

        Raises:
            GuardError: the model did not give one embedding of length one for each latent.
        """
        return self._seen(self.features(raw, noise_level), len(raw))

    def check_text(self, text: str) -> tuple[Tensor, Tensor]:
        """The same of each passage of a text instead of latents: all of it is read, however long it is."""
        batches = passages(self._model.tokenizer, text).split(_PASSAGES)
        seen = [self._seen(self._model.encode_text(ids, normalize=True).float(), len(ids)) for ids in batches]
        scores, nearest = zip(*seen, strict=True)
        return torch.cat(scores), torch.cat(nearest)

    @torch.no_grad()
    def embeddings(self, raw: Tensor, noise_level: float) -> Tensor:
        """``features`` on the CPU, without gradients.

        Raises:
            GuardError: the model did not give one embedding of length one for each latent; a NaN is not of length one.
        """
        features = self.features(raw, noise_level)
        self._require_shape(features, len(raw))
        features = features.cpu()
        if not bool(((torch.linalg.vector_norm(features, dim=1) - 1).abs() <= LENGTH_ERROR).all()):
            raise GuardError(NOT_OF_LENGTH_ONE)
        return features

    def _require_shape(self, features: Tensor, count: int) -> None:
        expected = (count, self._concepts.shape[1])
        if tuple(features.shape) != expected:
            raise GuardError(f"the guard's model gave embeddings of shape {tuple(features.shape)}, not {expected}")

    def _seen(self, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        self._require_shape(features, count)
        scores = self._reference.scores(features)
        nearest = nearest_concepts(features, self._concepts, self._members)
        lengths = torch.linalg.vector_norm(features, dim=1, keepdim=True)
        # One transfer: each has the host wait for the device. Row numbers are exact in float32 up to 2**24.
        columns = torch.cat([scores, nearest.to(scores.dtype), lengths], dim=1).cpu()
        seen, rows, lengths = columns.split([len(self.categories)] * 2 + [1], dim=1)
        if bool(((lengths - 1).abs() > LENGTH_ERROR).any()):  # a length that is not finite gives a score that is not
            raise GuardError(NOT_OF_LENGTH_ONE)
        return seen, rows.long()

    def features(self, raw: Tensor, noise_level: float) -> Tensor:
        """Embeddings (B, D) of length one, float32, of raw latents (B, C, H, W); differentiable."""
        return self._model.encode_latents(raw.to(self.device, self._dtype), noise_level, normalize=True).float()

    def thresholds(self, noise_level: float) -> Tensor:
        """Trigger thresholds (K,) at a noise level, on the CPU, where decisions are made."""
        return thresholds_at(self._noise_levels, self._thresholds, noise_level)
