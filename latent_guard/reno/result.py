"""What an optimisation of noise found, and how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from torch import Tensor


class Stopped(str, Enum):
    """Why an image was optimised no further."""

    ITERATIONS = "all iterations done"
    TARGET = "target reached"
    PLATEAU = "no better for long"
    NOT_FINITE = "a reward or its gradient was not finite"


@dataclass(frozen=True, eq=False)
class OptimisedNoise:
    """The best noise of each of B images, and what the pipeline makes of it.

    Attributes:
        images: of the pipeline's own call, in the format that was asked for.
        noise: (B, ...), float32, as the pipeline's ``latents`` takes it; of the iteration with the highest reward.
        rewards: each reward by name, unweighted, (iterations, B); NaN after an image was stopped.
        total: their weighted sum, which was optimised, without the regulariser, (iterations, B).
        best: (B,), the iteration that the noise is of; 0 is the noise that the pipeline would have begun with.
        stopped: B reasons.
        seconds: of all iterations together, without the final call.
    """

    images: Any
    noise: Tensor
    rewards: Mapping[str, Tensor]
    total: Tensor
    best: Tensor
    stopped: tuple[Stopped, ...]
    seconds: float

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
    return [value if value == value and abs(value) != float("inf") else None for value in curve.tolist()]
