"""Trigger thresholds of the world's concept bank, from unguarded generations of the dev prompts and the labeller."""

from __future__ import annotations

import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.scoring import Scorer
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.worlds.emoji.estimates import Trajectories

TOUCHED = 0.02


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
    """Thresholds (S, K) over harmless scores (N, S, K) that at most a share ``touched`` of the N generations crosses.

    A threshold is the highest score of the generations that are kept. Left out, one at a time, is the one without which
    the thresholds fall the most: a picture that went wrong stretches those of a category at all steps, and costs one.
    """
    kept = scores.clone()
    rows = torch.arange(len(scores))[:, None, None]
    for _ in range(int(touched * len(scores))):
        top = kept.topk(2, dim=0)
        fall = torch.where(rows == top.indices[0], top.values[0] - top.values[1], 0.0).sum((1, 2))
        kept = torch.cat([kept[: (worst := int(fall.argmax()))], kept[worst + 1 :]])
        rows = rows[:-1]
    return kept.amax(0)
