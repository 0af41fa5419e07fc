"""When an image is checked again, when it needs no more checks, and when its run may be aborted: pure decisions.

An image's margin is how far its score is over its threshold, in log-odds; NaN, a score that cannot be read, is over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from latent_guard.bounds import Bounds

EVERY = Bounds(1, 1000, whole=True)  # steps
CLEAR = Bounds(0, 100)  # log-odds
CHECKS_IN_A_ROW = 2  # one check can err; what two in a row agree on is believed
NEVER = math.inf


@dataclass(frozen=True)
class CheckSchedule:
    """Which steps of the policies' windows are checked; the final latent always is.

    Attributes:
        every: check every n-th step while an image is below its thresholds, every step while it is over one.
        clear_margin: two checks in a row this far below all thresholds end the checks of an image; None: never.
    """

    every: int = 1
    clear_margin: float | None = None

    def __post_init__(self) -> None:
        EVERY.check("policy: every", self.every)
        if self.clear_margin is not None:
            CLEAR.check("policy: clear_margin", self.clear_margin)


EVERY_STEP = CheckSchedule()


@dataclass(frozen=True)
class CheckState:
    """What the checks so far say about one image of a run.

    Attributes:
        next_step: the first step at which it is checked again.
        clear_checks: checks in a row that found it clearly safe.
        abort_checks: checks in a row that found it over an abort margin.
    """

    next_step: float = 0
    clear_checks: int = 0
    abort_checks: int = 0

    @property
    def may_abort(self) -> bool:
        """True if the run may be aborted, as far as this image goes."""
        return self.abort_checks >= CHECKS_IN_A_ROW

    def after_check(
        self, step: int, margins: Sequence[float], abort_margins: Sequence[float], schedule: CheckSchedule
    ) -> CheckState:
        """The state after a check at ``step`` that found these margins, one a category.

        ``abort_margins`` are those of the categories, infinite where none is set.
        """
        over = any(not margin <= 0 for margin in margins)
        clear = schedule.clear_margin is not None and all(margin <= -schedule.clear_margin for margin in margins)
        clear_checks = self.clear_checks + 1 if clear else 0
        abort_checks = self.abort_checks + 1 if _is_beyond(margins, abort_margins) else 0
        if clear_checks >= CHECKS_IN_A_ROW:
            return CheckState(NEVER, clear_checks, abort_checks)
        return CheckState(step + (1 if over else schedule.every), clear_checks, abort_checks)


def replay(
    margins: Sequence[Sequence[float]], abort_margins: Sequence[float], schedule: CheckSchedule
) -> tuple[tuple[int, ...], int | None]:
    """Replay a recorded, unsteered run of one image: which steps are checked, and where it is aborted.

    Args:
        margins: one entry a step of the window, each with one value a category.
        abort_margins: those of the categories, infinite where none is set.
        schedule: which steps are checked.

    Returns:
        The checked steps, and the step at which the run is aborted; None if it goes on to its end.
    """
    state = CheckState()
    checked = []
    for step, of_step in enumerate(margins):
        if step < state.next_step:
            continue
        checked.append(step)
        state = state.after_check(step, of_step, abort_margins, schedule)
        if state.may_abort:
            return tuple(checked), step
    return tuple(checked), None


def _is_beyond(margins: Sequence[float], abort_margins: Sequence[float]) -> bool:
    aborting = any(abort_margin < math.inf for abort_margin in abort_margins)
    return aborting and any(
        not margin <= abort_margin for margin, abort_margin in zip(margins, abort_margins, strict=True)
    )
