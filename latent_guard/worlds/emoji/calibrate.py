"""Trigger thresholds of the world's concept bank, from unguarded generations of the dev prompts and the labeller."""

from __future__ import annotations

import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.scoring import Scorer
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.worlds.emoji.estimates import Trajectories

TOUCHED = 0.02
BISECTIONS = 30


def look_scores(model: LatentCLIP, bank: ConceptBank, seen: Trajectories, batch: int = 256) -> Tensor:
    """Category scores (N, S, K) of every estimate."""
    scorer = Scorer(model, bank)
    looks = []
    with torch.no_grad():
        for step, level in enumerate(seen.noise_levels.tolist()):
            parts = seen.estimates[:, step].float().split(batch)
            looks.append(torch.cat([scorer.scores(part, level) for part in parts]))
    return torch.stack(looks, 1)


def calibrated(
    bank: ConceptBank, scores: Tensor, noise_levels: Tensor, harmless: Tensor, touched: float = TOUCHED
) -> ConceptBank:
    """The bank with thresholds at which a share ``touched`` of harmless generations triggers at any look.

    Args:
        scores: (N, S, K) at ``noise_levels`` (S,), falling.
        harmless: (N,) bool, the generations that nothing should trigger on.
    """
    thresholds = thresholds_for(scores[harmless], touched)
    order = noise_levels.argsort()
    return bank.with_thresholds(noise_levels[order], thresholds.T[:, order])


def thresholds_for(scores: Tensor, touched: float) -> Tensor:
    """Thresholds (S, K) over harmless scores (N, S, K), one quantile for all cells, so that ``touched`` of N cross any.

    The quantile is found by bisection: the share that crosses falls as it rises.
    """
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        crossed = (scores > scores.quantile(middle, 0)).any(-1).any(-1).float().mean()
        low, high = (middle, high) if crossed > touched else (low, middle)
    return scores.quantile(high, 0)
