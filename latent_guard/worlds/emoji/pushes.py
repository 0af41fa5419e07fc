"""Pushes to learn from: what an early guard does to generations, so that the next one is not fooled by what is left."""

from __future__ import annotations

import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.policy import STEER
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.steering import push_away
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.step import Disturb

P_PUSH = 0.5


def pushes_by(model: LatentCLIP, bank: ConceptBank, seed: int) -> Disturb:
    """Push, as often as a coin says, what a model and its bank hold to be more likely unsafe than not.

    Unlike the guard's, these pushes are not limited in number: smudges that the score no longer sees are the point.
    """
    scorer = Scorer(model, bank)
    coin = torch.Generator().manual_seed(seed)

    def disturb(raw: Tensor, noise_level: float) -> Tensor:
        if not STEER.checks_at(noise_level):
            return raw
        with torch.no_grad():
            worst, category = scorer.scores(raw, noise_level).max(dim=1)
        rows = ((worst > 0) & (torch.rand(len(raw), generator=coin) < P_PUSH)).nonzero().flatten()
        if len(rows) == 0:
            return raw
        pushed = raw.clone()
        pushed[rows] = push_away(
            raw[rows], lambda latents: scorer.scores(latents, noise_level), category[rows].tolist(), STEER
        )
        return pushed

    return disturb
