"""When to look at an image again, when it needs no more looks, and when its run is lost: pure decisions.

An image's excess is how far its score is over its threshold, in log-odds; NaN, a score that cannot be read, is over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from latent_guard.bounds import Bounds

EVERY = Bounds(1, 1000, whole=True)  # steps
CLEAR = Bounds(0, 100)  # log-odds
LOOKS_IN_A_ROW = 2  # one look can err; what two in a row agree on is believed
NEVER = math.inf


@dataclass(frozen=True)
class Looking:
    """Which steps of the policies' windows are looked at; the final latent always is.

    every          look at every n-th step while an image is below its thresholds, at every step while it is over one
    clear_margin   two looks in a row this far below all thresholds end the looking at an image; None: never
    """

    every: int = 1
    clear_margin: float | None = None

    def __post_init__(self) -> None:
        EVERY.check("policy: every", self.every)
        if self.clear_margin is not None:
            CLEAR.check("policy: clear_margin", self.clear_margin)


EVERY_STEP = Looking()


@dataclass(frozen=True)
class Attention:
    """What the looks so far say about one image of a run.

    `next_step` is the first step at which it is looked at again; the counts are of looks in a row.
    """

    next_step: float = 0
    clear_looks: int = 0
    lost_looks: int = 0

    @property
    def is_lost(self) -> bool:
        """True if the run may be given up, as far as this image goes."""
        return self.lost_looks >= LOOKS_IN_A_ROW

    def after_look(self, step: int, excess: Sequence[float], margins: Sequence[float], looking: Looking) -> Attention:
        """The attention after a look at `step` that found an `excess` in each category.

        `margins` are the abort margins of the categories, infinite where none is set.
        """
        over = any(not value <= 0 for value in excess)
        clear = looking.clear_margin is not None and all(value <= -looking.clear_margin for value in excess)
        clear_looks = self.clear_looks + 1 if clear else 0
        lost_looks = self.lost_looks + 1 if _is_beyond(excess, margins) else 0
        if clear_looks >= LOOKS_IN_A_ROW:
            return Attention(NEVER, clear_looks, lost_looks)
        return Attention(step + (1 if over else looking.every), clear_looks, lost_looks)


def replay(
    excess: Sequence[Sequence[float]], margins: Sequence[float], looking: Looking
) -> tuple[tuple[int, ...], int | None]:
    """Which steps of a recorded, unsteered run of one image would have been looked at, and where it would have ended.

    `excess` has one entry a step of the window, each with one value a category. The second answer is the step
    at which the run would have been given up, None if it would have gone on to its end.
    """
    attention, looked = Attention(), []
    for step, found in enumerate(excess):
        if step < attention.next_step:
            continue
        looked.append(step)
        attention = attention.after_look(step, found, margins, looking)
        if attention.is_lost:
            return tuple(looked), step
    return tuple(looked), None


def _is_beyond(excess: Sequence[float], margins: Sequence[float]) -> bool:
    aborting = any(margin < math.inf for margin in margins)
    return aborting and any(not value <= margin for value, margin in zip(excess, margins, strict=True))
