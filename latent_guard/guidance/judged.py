"""What a call of a guarded pipeline hands out, by its last check, and whether latents are still the same.

Shapes: B images, C latent channels, H and W latent positions; of videos T latent frames stand before H.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from latent_guard.guidance.fail_open import RefusalError
from latent_guard.guidance.run import Run
from latent_guard.pipelines.families import Family

ROUNDINGS = 4  # in float32, by which compiled arithmetic may differ from the same in eager mode


@dataclass(frozen=True, eq=False)
class Judged:
    """What a call hands out by its last check: a pipeline's latents (B, C, H, W), neutral where masked (B,).

    ``noise_level`` is above 0 where the rest of the steps is left to a refiner.
    """

    latents: Tensor
    masked: Tensor
    noise_level: float

    def require_count(self, images: Any) -> None:
        """Raise ``GuardError`` for other than as many images as were judged."""
        count = len(self.masked)
        if len(images) != count:
            raise RefusalError(f"the pipeline gave {len(images)} images, but the guard verified {count}; discard them")

    def require_shape(self, latents: Tensor) -> None:
        """Raise ``GuardError`` for latents of another shape; videos may have other numbers of frames."""
        if without_time(latents) != without_time(self.latents):
            given, known = tuple(latents.shape), tuple(self.latents.shape)
            raise RefusalError(f"latents of shape {given} are to be handed out, and {known} were judged; discard them")


@dataclass
class Call:
    """One call of a guarded pipeline, until it hands out.

    ``run`` is what its steps amount to, ``judged`` is there after the last of them. ``frames`` of its videos,
    counted over all of them, were decoded as pictures. ``bypassed``: the guard failed in it, and the caller had asked
    to let it go on. ``inputs`` were in a modular pipeline's state before the first step. ``left``: some of what was
    judged has left already. ``masked``: which of its images are (B,).
    """

    thread: int
    gives_latents: bool = False
    run: Run | None = None
    judged: Judged | None = None
    decoded: bool = False
    frames: set[int] = field(default_factory=set)
    bypassed: bool = False
    inputs: dict[str, Any] = field(default_factory=dict)
    left: bool = False
    masked: Tensor | None = None

    @property
    def masks(self) -> bool:
        """True if any image of the call was masked."""
        return self.masked is not None and bool(self.masked.any())

    def begin_section(self, family: Family) -> bool:
        """Begin another section where the family makes some and the last one was judged; False elsewhere."""
        begins = family.sections and self.judged is not None
        if begins:
            self.judged = None
        return begins

    def mask(self, images: Tensor) -> None:
        """Take note of images (B,) that are masked."""
        self.masked = images.clone() if self.masked is None else self.masked | images

    def add_frames(self, given: Tensor, videos: Sequence[Tensor]) -> bool:
        """Take note of frames of some videos (B, C, T, H, W) that are decoded as pictures; False if any is none."""
        stills = [video.transpose(1, 2).flatten(0, 1) for video in videos]
        if given.shape[1:] != stills[0].shape[1:]:
            return False
        taken = set(self.frames)
        for still in given:
            place = _place(still, stills, taken)
            if place is None:
                return False
            taken.add(place)
        self.frames = taken
        self.decoded = self.decoded or len(self.frames) == len(stills[0])
        return True


def others(latents: Tensor, expected: list[Tensor]) -> list[int]:
    """The images of latents that are like none of what was expected; a NaN is like nothing.

    Videos to which a pipeline added frames, or of which it left some out, are others.
    """
    same = torch.zeros(len(latents), dtype=torch.bool, device=latents.device)
    for one in expected if latents.shape == expected[0].shape else ():
        slack = ROUNDINGS * torch.finfo(torch.float32).eps * (1 + one.float().abs())
        same |= ((latents.float() - one.float()).abs() <= slack).flatten(1).all(dim=1)
    return (~same).nonzero().flatten().tolist()


def without_time(latents: Tensor) -> tuple[int, ...]:
    """The shape of latents, or of videos without their number of frames."""
    shape = tuple(latents.shape)
    return (*shape[:2], *shape[3:]) if latents.ndim == 5 else shape


def _place(still: Tensor, among: Sequence[Tensor], taken: set[int]) -> int | None:
    """Where a still (C, H, W) is among others (n, C, H, W), in any of their forms: rather where none was taken yet."""
    count = len(among[0])
    unlike = [set(others(still.expand_as(form), [form])) for form in among]
    alike = [place for place in range(count) if any(place not in those for those in unlike)]
    return next((place for place in alike if place not in taken), alike[0] if alike else None)
