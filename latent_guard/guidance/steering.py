"""Pushing clean estimates away from what a score measures: pure, given the score function."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latent_guard.guidance.policy import Policy
from latent_guard.latent_clip.latent_space import LatentSpace

ScoreFunction = Callable[[Tensor], Tensor]  # raw latents (n, C, H, W) -> the score to bring down, (n,), or all of them


def push(
    clean: Tensor,
    score: ScoreFunction,
    space: LatentSpace,
    *,
    strength: float,
    augmentations: int,
    augmentation_noise: float,
) -> Tensor:
    """Clean raw latents (n, C, H, W), each moved by a root mean square of ``strength`` down the gradient of ``score``.

    Gradient, length and noise are those of normalised latents, which the pipeline of ``space`` itself works in: they
    are of unit variance whatever the VAE, so that a push of one length is as strong in every space.

    The length is fixed and does not depend on how the score answers: a push that ends as soon as the score is low
    enough lowers the score alone, and leaves the object (benchmarks/LOG.md). An image whose gradient is zero or
    not finite stays where it is.
    """
    latents = space.from_raw(clean)
    noise = _fixed_noise(latents, augmentations) * augmentation_noise
    gradient = _averaged_gradient(latents, lambda normalised: score(space.to_raw(normalised)), noise)
    return space.to_raw(latents - strength * _unit(gradient))


def push_away(raw: Tensor, scores: ScoreFunction, space: LatentSpace, categories: list[int], policy: Policy) -> Tensor:
    """Raw latents (n, C, H, W), each pushed from its own category (n,) of those that ``scores`` gives (n, K)."""
    column = torch.tensor(categories, device=raw.device)[:, None]
    return push(
        raw,
        lambda latents: scores(latents).gather(1, column).squeeze(1),
        space,
        strength=policy.strength,
        augmentations=policy.augmentations,
        augmentation_noise=policy.augmentation_noise,
    )


def _averaged_gradient(latents: Tensor, score: ScoreFunction, noise: Tensor) -> Tensor:
    """Gradient of the score of latents (n, C, H, W), averaged over small noises (A, C, H, W).

    One noisy copy at a time: a gradient that holds only at one exact point lowers the score and leaves the object.
    """
    with torch.enable_grad():
        leaf = latents.detach().clone().requires_grad_(True)
        total = torch.stack([score(leaf + shift).sum() for shift in noise]).mean()
        (gradient,) = torch.autograd.grad(total, leaf)
    return gradient


def _unit(gradient: Tensor) -> Tensor:
    """Each image's gradient at a root mean square of 1; 0 where it has no direction."""
    rms = gradient.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return torch.where(torch.isfinite(rms) & (rms > 0), gradient / rms, 0.0)


def _fixed_noise(latents: Tensor, count: int) -> Tensor:
    # A generator of its own, so that a guarded generation draws the same random numbers as an unguarded one.
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *latents.shape[1:], generator=generator).to(latents)
