"""The result of a noise search, as Python and as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor


class StopReason(str, Enum):
    """The reason why the optimisation of an image ended."""

    ITERATIONS = "all iterations done"
    TARGET = "target reached"
    PLATEAU = "no improvement within the patience"
    NOT_FINITE = "a reward or its gradient was not finite"


@dataclass(frozen=True, eq=False)
class GeneratorStates:
    """The states of the generators after the initial noise was drawn: one an image, or one for all (``shared``)."""

    states: tuple[Tensor, ...]
    devices: tuple[torch.device, ...]
    shared: bool

    def generators(self) -> torch.Generator | list[torch.Generator]:
        """New generators in these states, as a pipeline takes them."""
        generators = [torch.Generator(device) for device in self.devices]
        for generator, state in zip(generators, self.states, strict=True):
            generator.set_state(state)
        return generators[0] if self.shared else generators


@dataclass(frozen=True, eq=False)
class OptimisedNoise:
    """The best noise of each of B images, and the images that the pipeline draws from it.

    Attributes:
        images: the output of the pipeline's own call, in the format that was asked for.
        noise: (B, ...), as the pipeline's ``latents`` takes it; that of the iteration with the highest reward.
        generator_states: the generators of steps that add noise; ``arguments`` hands them to the pipeline.
        rewards: each reward by name, unweighted, (iterations, B); NaN after an image was stopped.
        total: the weighted sum that was optimised, without the regulariser, (iterations, B).
        best_iteration: (B,), the iteration of ``noise``; 0 is the noise that the pipeline would have begun with.
        stop_reasons: B reasons.
        seconds: the time of all iterations together, without the final call.
    """

    images: Any
    noise: Tensor
    generator_states: GeneratorStates
    rewards: Mapping[str, Tensor]
    total: Tensor
    best_iteration: Tensor
    stop_reasons: tuple[StopReason, ...]
    seconds: float

    def arguments(self) -> dict[str, Any]:
        """Arguments that make the pipeline draw the images again, beside those of the optimisation."""
        return {"latents": self.noise, "generator": self.generator_states.generators()}

    def to_dict(self, image: int) -> dict[str, Any]:
        """One image's record as plain data; numbers that are not finite become None."""
        return {
            "best_iteration": int(self.best_iteration[image]),
            "stop_reason": self.stop_reasons[image].value,
            "iterations": len(self.total),
            "seconds": self.seconds,
            "total": _plain(self.total[:, image]),
            "rewards": {name: _plain(curve[:, image]) for name, curve in self.rewards.items()},
        }


def _plain(curve: Tensor) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in curve.tolist()]
