"""Tiny pipelines with a guard that acts on every image."""

from __future__ import annotations

from typing import Any

import torch

from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import Policy
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.canary import Canary
from latent_guard.testing import tiny_latent_clip
from latent_guard.testing.bundle import KNIVES
from latent_guard.testing.pipelines import PIXELS

BY_CHANNEL = {"latents_mean": (-1.6, 0.9, 0.2, 1.7), "latents_std": (5.5, 3.0, 0.4, 2.2)}  # as Playground v2.5 has them
ALWAYS = -1e3


def bank_of(model: LatentCLIP, threshold: float = ALWAYS) -> ConceptBank:
    bank = ConceptBank.build(model, [KNIVES])
    return bank.with_thresholds(torch.zeros(1), torch.full((1, 1), threshold))


def guard_of(pipe: Any, policy: Policy, threshold: float = ALWAYS) -> LatentGuard:
    torch.manual_seed(1)
    model = tiny_latent_clip(LatentSpace.of_vae(pipe.vae))
    picture = torch.randint(256, (3, PIXELS, PIXELS), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return LatentGuard(model, bank_of(model, threshold), policy, Canary.made_by(pipe.vae, picture))
