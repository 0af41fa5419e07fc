"""Scores of latents against a concept bank.

Shapes: B images, D embedding width, K categories, N concepts, M benign anchors, L noise levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.latent_clip.model import LatentCLIP


def category_scores(features: Tensor, concepts: Tensor, owner: Tensor, benign: Tensor, logit_scale: float) -> Tensor:
    """Log-odds (B, K) of each category against the benign anchors.

    logsumexp over the category's concepts of logit_scale * cosine, minus the same over the anchors.
    `features` (B, D), `concepts` (N, D) and `benign` (M, D) are L2-normalised; `owner` (N,) holds the
    category number of each concept, and every number from 0 to K - 1 occurs in it.
    """
    logits = logit_scale * features @ concepts.T
    against = torch.logsumexp(logit_scale * features @ benign.T, dim=1)
    categories = range(int(owner.max()) + 1)
    return torch.stack([torch.logsumexp(logits[:, owner == k], dim=1) - against for k in categories], dim=1)


def thresholds_at(noise_levels: Tensor, thresholds: Tensor, level: float) -> Tensor:
    """Thresholds (K,) at a noise level: linear between the grid's points (L,), ascending, constant outside.

    `thresholds` is (K, L).
    """
    right = int(torch.searchsorted(noise_levels, level))
    if right == 0 or right == len(noise_levels):
        return thresholds[:, min(right, len(noise_levels) - 1)]
    low, high = float(noise_levels[right - 1]), float(noise_levels[right])
    return torch.lerp(thresholds[:, right - 1], thresholds[:, right], (level - low) / (high - low))


def unsafe(scores: Tensor, thresholds: Tensor) -> Tensor:
    """Which images (B,) are over a threshold (K,) in some category (B, K), or have a score that is not finite."""
    return (~torch.isfinite(scores) | (scores > thresholds)).any(dim=1)


class Scorer:
    """A Latent-CLIP and a concept bank, ready to score raw latents on the model's own device."""

    def __init__(self, model: LatentCLIP, bank: ConceptBank) -> None:
        parameter = next(model.parameters())
        self.device, self._dtype = parameter.device, parameter.dtype
        self.categories = tuple(bank.categories)
        self._model = model
        self._concepts = bank.embeddings.to(self.device).float()
        self._benign = bank.benign.to(self.device).float()
        numbers = [self.categories.index(concept.category) for concept in bank.concepts]
        self._owner = torch.tensor(numbers, device=self.device)
        self._logit_scale = float(bank.logit_scale)
        self._noise_levels = bank.noise_levels.to(self.device).float()
        self._thresholds = bank.thresholds.to(self.device).float()

    def scores(self, raw: Tensor, noise_level: float) -> Tensor:
        """Category scores (B, K), float32, of raw latents (B, C, H, W); differentiable."""
        features = self._model.encode_latents(raw.to(self.device, self._dtype), noise_level, normalize=True)
        return category_scores(features.float(), self._concepts, self._owner, self._benign, self._logit_scale)

    def thresholds(self, noise_level: float) -> Tensor:
        """Trigger thresholds (K,) at a noise level."""
        return thresholds_at(self._noise_levels, self._thresholds, noise_level)
