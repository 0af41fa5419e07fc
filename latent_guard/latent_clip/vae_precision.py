"""The precision that a VAE can work in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


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
