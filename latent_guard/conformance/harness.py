"""What the proofs are made with: a guard whose scores are known, and what a pipeline decodes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from latent_guard.conformance.known import KnownLatentCLIP, linear_bank
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import BLOCK, STEER, Policy
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.family_table import family_of

NEVER, ALWAYS = 1e3, -1e3
# (pipe, **changes of the arguments) -> the images of a call that draws the same every time, as numpy arrays
Call = Callable[..., Any]


@dataclass(frozen=True)
class Proof:
    """One thing that must hold: ``failure`` says what does not, and is empty where it does."""

    name: str
    failure: str

    @property
    def holds(self) -> bool:
        """True if it does."""
        return not self.failure


def known_guard(pipe: Any, threshold: float, policy: Any, model: KnownLatentCLIP | None = None) -> LatentGuard:
    """A guard of a pipeline's latents whose scores are known; an image is unsafe from ``threshold`` on."""
    own = model or KnownLatentCLIP(LatentSpace.of_vae(pipe.vae))
    return LatentGuard(cast(LatentCLIP, own), linear_bank(threshold), policy)


def is_video(pipe: Any) -> bool:
    """True for a pipeline that makes videos, which are not steered."""
    return family_of(pipe).video


def usual_policy(pipe: Any) -> Policy:
    """One that acts as far as may be: videos are not steered."""
    return BLOCK if is_video(pipe) else STEER


@contextmanager
def decoded_by(pipe: Any) -> Iterator[list[Tensor]]:
    """The block in which the raw latents that ``vae.decode`` is given are kept, (B, C, H, W), float32.

    Those of videos are kept frame by frame. A guard is to be attached inside of it.
    """
    kept: list[Tensor] = []

    decode, replaced = pipe.vae.decode, vars(pipe.vae).get("decode")

    @functools.wraps(decode)
    def keeping(raw: Tensor, *args: Any, **kwargs: Any) -> Any:
        stills = raw.transpose(1, 2).flatten(0, 1) if raw.ndim == 5 else raw
        kept.append(stills.detach().float())
        return decode(raw, *args, **kwargs)

    pipe.vae.decode = keeping
    try:
        yield kept
    finally:
        del pipe.vae.decode
        if replaced is not None:
            pipe.vae.decode = replaced


def tolerance(pipe: Any) -> float:
    """By how much latents may differ, relative to the largest, for rounding in the VAE's precision."""
    return 64 * float(torch.finfo(pipe.vae.dtype).eps)
