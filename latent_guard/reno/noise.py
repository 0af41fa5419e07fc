"""The maths of an optimisation step on the noise, as pure functions.

Shapes: B images; a noise sample is (B, ...), with d numbers an image.
"""

from __future__ import annotations

import torch
from torch import Tensor


def norm_regulariser(noise: Tensor) -> Tensor:
    """Return minus the log density of each noise sample's norm under a Gaussian, up to a constant, (B,).

    It is |z|^2 / 2 - (d - 1) log |z|, least where |z|^2 = d - 1 (ReNO, Eyring et al. 2024, section 3.3; Samuel et al.
    2023, Norm-guided latent space exploration, section 4).
    """
    squared = noise.flatten(1).square().sum(dim=1)
    dimensions = noise[0].numel()
    return squared / 2 - (dimensions - 1) / 2 * squared.log()


def clipped(gradient: Tensor, max_norm: float) -> Tensor:
    """Clip each image's gradient (B, ...) to the norm ``max_norm``.

    Images are clipped one by one, so that an image's path does not depend on the rest of its batch.
    """
    norms = gradient.flatten(1).norm(dim=1)
    factors = (max_norm / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp_max(1.0)
    return gradient * by_image(factors, gradient)


def by_image(values: Tensor, like: Tensor) -> Tensor:
    """Reshape one value an image (B,) so that it broadcasts over ``like`` (B, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))
