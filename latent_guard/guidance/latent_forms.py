"""The forms in which the blocks of modular pipelines leave latents in a state, each to and from the pipeline's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from latent_guard.pipelines.latents import PipelineLatents


@dataclass(frozen=True)
class LatentForm:
    """``opened`` gives normalised latents (B, C p p, H/p, W/p), or those of videos, ``closed`` is the inverse."""

    opened: Callable[[Tensor], Tensor]
    closed: Callable[[Tensor], Tensor]
    is_raw: bool = False


def forms_of(latents: PipelineLatents) -> list[LatentForm]:
    """As the scheduler steps them, in their places, raw, and normalised but not in patches any more."""
    space, patch = latents.space, latents.space.patch
    forms = [
        LatentForm(latents.layout.unpack, latents.layout.pack),
        LatentForm(lambda given: given, lambda own: own),
        LatentForm(space.from_raw, lambda own: space.to_raw(own.float()), is_raw=True),
    ]
    if patch > 1:
        forms.append(LatentForm(lambda given: pixel_unshuffle(given, patch), lambda own: pixel_shuffle(own, patch)))
    return forms
