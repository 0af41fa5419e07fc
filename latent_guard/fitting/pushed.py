"""Pushes as training augmentation: an early guard steers generations, and the next one learns from their artefacts."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.policy import STEER
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.steering import push_away
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.step import Perturb

P_PUSH = 0.5
STRENGTHS = (1.0, 8.0)  # of which each push draws its own, evenly by octaves: the length to use is chosen later


def pushes_by(
    model: LatentCLIP, bank: ConceptBank, space: LatentSpace, seed: int, strengths: tuple[float, float] = STRENGTHS
) -> Perturb:
    """Push latents with probability ``P_PUSH`` where a model and its bank score them as more likely unsafe than safe.

    Unlike the guard's, these pushes are not limited in number: training needs the artefacts that the score misses.
    """
    scorer = Scorer(model, bank)
    coin = torch.Generator().manual_seed(seed)
    shortest, longest = strengths

    def perturb(raw: Tensor, noise_level: float) -> Tensor:
        if not STEER.checks_at(noise_level):
            return raw
        with torch.no_grad():
            worst, category = scorer.scores(raw, noise_level).max(dim=1)
        rows = ((worst.cpu() > 0) & (torch.rand(len(raw), generator=coin) < P_PUSH)).nonzero().flatten()
        share = float(torch.rand(1, generator=coin)) if shortest < longest else 0.0
        if len(rows) == 0:
            return raw
        policy = replace(STEER, strength=shortest * (longest / shortest) ** share)
        pushed = raw.clone()

        def score(latents: Tensor) -> Tensor:
            return scorer.scores(latents, noise_level)

        pushed[rows] = push_away(raw[rows], score, space, category[rows].tolist(), policy)
        return pushed

    return perturb
