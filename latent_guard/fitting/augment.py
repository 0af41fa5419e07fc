"""Augmentation of the estimates that a student learns from: there are few of them, and they are to count for more."""

from __future__ import annotations

import torch
from torch import Tensor

from latent_guard.latent_clip.latent_space import LatentSpace

FLIPPED = 0.5  # share of images
MOST_NOISE = 0.4  # standard deviation, in normalised latents


def augmented(raw: Tensor, space: LatentSpace, generator: torch.Generator) -> Tensor:
    """Raw latents (B, C, H, W), half of them flipped, each with noise of a strength of its own.

    A convolutional decoder makes of latents that are flipped from left to right very nearly the flipped picture, so
    that they show the same. Noise is what looks differ by, and is weak enough to leave it visible.
    """
    flips = torch.rand(len(raw), 1, 1, 1, generator=generator) < FLIPPED
    latents = space.from_raw(torch.where(flips.to(raw.device), raw.flip(-1), raw))
    strengths = MOST_NOISE * torch.rand(len(raw), 1, 1, 1, generator=generator)
    noise = torch.randn(latents.shape, generator=generator) * strengths
    return space.to_raw(latents + noise.to(latents))
