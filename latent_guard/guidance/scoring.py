"""Scores of latents against a concept bank.

Shapes: B images, K categories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latent_guard.concepts.scoring import members_of, nearest_concepts, thresholds_at

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.latent_clip.model import LatentCLIP


def unsafe(scores: Tensor, thresholds: Tensor) -> Tensor:
    """Which images (B,) are over a threshold (K,) in some category (B, K), or have a score that is not finite."""
    return (~torch.isfinite(scores) | (scores > thresholds)).any(dim=1)


class Scorer:
    """A Latent-CLIP and a concept bank, ready to score raw latents on the model's own device."""

    def __init__(self, model: LatentCLIP, bank: ConceptBank) -> None:
        parameter = next(model.parameters())
        self.device, self._dtype = parameter.device, parameter.dtype
        self.categories = tuple(bank.categories)
        self.concepts = tuple(concept.prompt for concept in bank.concepts)
        self._model = model
        self._reference = bank.reference().to(self.device)
        self._concepts = bank.embeddings.to(self.device).float()
        self._members = tuple(rows.to(self.device) for rows in members_of(bank.owner))
        self._noise_levels, self._thresholds = bank.noise_levels.cpu().float(), bank.thresholds.cpu().float()

    def scores(self, raw: Tensor, noise_level: float) -> Tensor:
        """Category scores (B, K), float32, of raw latents (B, C, H, W); differentiable."""
        return self._reference.scores(self._features(raw, noise_level))

    def look(self, raw: Tensor, noise_level: float) -> tuple[Tensor, Tensor]:
        """Category scores (B, K), and which of `concepts` is each category's nearest (B, K), on the CPU."""
        return self._seen(self._features(raw, noise_level))

    def read(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """The same of texts instead of latents."""
        return self._seen(self._model.encode_text(prompts, normalize=True).float())

    def _seen(self, features: Tensor) -> tuple[Tensor, Tensor]:
        scores, nearest = self._reference.scores(features), nearest_concepts(features, self._concepts, self._members)
        # One transfer: each has the host wait for the device. Row numbers are exact in float32 up to 2**24.
        seen, rows = torch.cat([scores, nearest.to(scores.dtype)], dim=1).cpu().split(len(self.categories), dim=1)
        return seen, rows.long()

    def _features(self, raw: Tensor, noise_level: float) -> Tensor:
        return self._model.encode_latents(raw.to(self.device, self._dtype), noise_level, normalize=True).float()

    def thresholds(self, noise_level: float) -> Tensor:
        """Trigger thresholds (K,) at a noise level, on the CPU, where decisions are made."""
        return thresholds_at(self._noise_levels, self._thresholds, noise_level)
