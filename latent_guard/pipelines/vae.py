"""Decoding: the precision that a VAE can work in, and pixels that a gradient goes back from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def without_overflow(vae: Any) -> Iterator[None]:
    """The VAE in float32 where its own config says that half precision overflows; pipelines do the same."""
    own = vae.dtype
    if not (own == torch.float16 and vae.config.force_upcast):
        yield
        return
    vae.to(torch.float32)
    try:
        yield
    finally:
        vae.to(own)


def shown_pixels(vae: Any, raw: Tensor) -> Tensor:
    """Pixels (B, 3, H, W) in [-1, 1], float32, of raw latents (B, C, h, w); differentiable."""
    pixels: Tensor = vae.decode(raw.to(vae.dtype)).sample.float()
    # Shown as they would be on a screen; where they are cut off there, the gradient is not.
    return pixels + (pixels.clamp(-1, 1) - pixels).detach()
