"""The trigger threshold of the world's concept bank, from unguarded generations of benign prompts and the labeller."""

from __future__ import annotations

import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.policy import SAFE
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
    """The bank with the threshold that at most a share ``touched`` of harmless generations crosses at any look.

    One threshold serves all categories and noise levels: scores are log-odds, and thresholds of a shape of their own
    did not find more at an equal share, but kept it less well on fresh generations (benchmarks/LOG.md).

    Args:
        scores: (N, S, K) at ``noise_levels`` (S,); those that the guard looks at count.
        harmless: (N,) bool, the generations that nothing should trigger on.
    """
    looked = torch.tensor([SAFE.looks_at(level) or level == 0.0 for level in noise_levels.tolist()])
    threshold = threshold_for(scores[harmless][:, looked].amax(dim=(1, 2)), touched)
    return bank.with_thresholds(torch.tensor([0.0, 1.0]), torch.full((len(bank.categories), 2), threshold))


def threshold_for(worst: Tensor, touched: float) -> float:
    """What a fresh image exceeds with probability ``touched`` at most, given the scores (N,) of others like it.

    Split conformal prediction (Angelopoulos & Bates, 2023, section 1): the k-th highest, k = touched * (N + 1) rounded
    down. With fewer than 1 / touched images there is no such promise, and the highest is taken.
    """
    rank = max(1, int(touched * (len(worst) + 1)))
    return float(worst.sort(descending=True).values[rank - 1])
