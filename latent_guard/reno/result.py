"""What an optimisation of noise found, and how it went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor


class Stopped(str, Enum):
    """Why an image was optimised no further."""

    ITERATIONS = "all iterations done"
    TARGET = "target reached"
    PLATEAU = "no better for long"
    NOT_FINITE = "a reward or its gradient was not finite"


@dataclass(frozen=True, eq=False)
class Origin:
    """Generators as they were when the initial noise had been drawn, one an image or one for all."""

    states: tuple[Tensor, ...]
    devices: tuple[torch.device, ...]
    shared: bool

    def generators(self) -> torch.Generator | list[torch.Generator]:
        """New ones, as a pipeline takes them."""
        made = [torch.Generator(device) for device in self.devices]
        for generator, state in zip(made, self.states, strict=True):
            generator.set_state(state)
        return made[0] if self.shared else made


@dataclass(frozen=True, eq=False)
class OptimisedNoise:
    """The best noise of each of B images, and what the pipeline makes of it.

    Attributes:
        images: of the pipeline's own call, in the format that was asked for.
        noise: (B, ...), as the pipeline's ``latents`` takes it; of the iteration with the highest reward.
        origin: where steps that add noise take it from, see ``arguments``.
        rewards: each reward by name, unweighted, (iterations, B); NaN after an image was stopped.
        total: their weighted sum, which was optimised, without the regulariser, (iterations, B).
        best: (B,), the iteration that the noise is of; 0 is the noise that the pipeline would have begun with.
        stopped: B reasons.
        seconds: of all iterations together, without the final call.
    """

    images: Any
    noise: Tensor
    origin: Origin
    rewards: Mapping[str, Tensor]
    total: Tensor
    best: Tensor
    stopped: tuple[Stopped, ...]
    seconds: float

    def arguments(self) -> dict[str, Any]:
        """What to call the pipeline with, beside what the optimisation was called with, to draw the images again."""
        return {"latents": self.noise, "generator": self.origin.generators()}

    def to_dict(self, image: int) -> dict[str, Any]:
        """One image's record, as plain data: numbers that are not finite become None."""
        best = int(self.best[image])
        return {
            "best_iteration": best,
            "stopped": self.stopped[image].value,
            "iterations": len(self.total),
            "seconds": self.seconds,
            "total": _plain(self.total[:, image]),
            "rewards": {name: _plain(curve[:, image]) for name, curve in self.rewards.items()},
        }


def _plain(curve: Tensor) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in curve.tolist()]
