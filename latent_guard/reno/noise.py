"""The maths of a step on the noise: pure, an image a row.

Shapes: B images; a noise is (B, ...), one of d numbers an image.
"""

from __future__ import annotations

import torch
from torch import Tensor


def norm_regulariser(noise: Tensor) -> Tensor:
    """Minus the log density, up to a constant, of each noise's norm if it is Gaussian, (B,).

    |z|^2 / 2 - (d - 1) log |z|, least where |z|^2 = d - 1 (ReNO, Eyring et al. 2024, section 3.3; Samuel et al. 2023,
    Norm-guided latent space exploration, section 4).
    """
    squared = noise.flatten(1).square().sum(dim=1)
    dimensions = noise[0].numel()
    return squared / 2 - (dimensions - 1) / 2 * squared.log()


def clipped(gradient: Tensor, largest: float) -> Tensor:
    """Each image's gradient (B, ...), made shorter where its norm is over ``largest``.

    An image at a time, so that an image's path does not depend on what else is in its batch.
    """
    norms = gradient.flatten(1).norm(dim=1)
    factors = (largest / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp_max(1.0)
    return gradient * by_image(factors, gradient)


def by_image(values: Tensor, like: Tensor) -> Tensor:
    """One value an image (B,), shaped to go with ``like`` (B, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))
