"""When to check again, when to stop checking, when to abort: closed cases."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_guard.errors import InputError
from latent_guard.guidance.check_schedule import EVERY_STEP, CheckSchedule, replay

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("margins", "schedule", "checked"),
    [
        ([-9, -9, -9, -9, -9], EVERY_STEP, (0, 1, 2, 3, 4)),
        ([-9, -9, -9, -9, -9], CheckSchedule(clear_margin=5), (0, 1)),
        ([-9, -4, -9, -9, -9], CheckSchedule(clear_margin=5), (0, 1, 2, 3)),
        ([-5, -5, -9, -9, -9], CheckSchedule(clear_margin=5), (0, 1)),
        ([-9, -9, -9, -9, -9], CheckSchedule(every=2), (0, 2, 4)),
        ([-9, -9, -9, -9, -9], CheckSchedule(every=2, clear_margin=5), (0, 2)),
        ([-1, -1, 1, 1, -1, -1], CheckSchedule(every=2), (0, 2, 3, 4)),
        ([NAN, -9, -9, -9], CheckSchedule(every=2, clear_margin=5), (0, 1, 3)),
        ([0, 0, 0], CheckSchedule(every=3, clear_margin=0), (0,)),
        ([0, 0, 0, 0], CheckSchedule(every=3, clear_margin=0), (0, 3)),
        ([-INF, -INF, 1], CheckSchedule(clear_margin=100), (0, 1)),
    ],
    ids=str,
)
def test_which_steps_are_checked(margins: list[float], schedule: CheckSchedule, checked: tuple[int, ...]) -> None:
    assert replay([[value] for value in margins], [INF], schedule) == (checked, None)


@pytest.mark.parametrize(
    ("margins", "abort_margins", "ended"),
    [
        ([[5], [5], [5]], [4], 1),
        ([[5], [3], [5], [5]], [4], 3),
        ([[5], [3], [5], [3]], [4], None),
        ([[4], [4], [4]], [4], None),
        ([[9], [9]], [INF], None),
        ([[9, -9], [9, -9]], [INF, 4], None),
        ([[-9, 5], [5, -9]], [4, 4], 1),
        ([[NAN], [INF]], [4], 1),
        ([[NAN], [NAN]], [INF], None),
    ],
    ids=str,
)
def test_a_run_is_aborted_at_the_second_check_in_a_row_over_the_margin(
    margins: list[list[float]], abort_margins: list[float], ended: int | None
) -> None:
    assert replay(margins, abort_margins, EVERY_STEP)[1] == ended


def test_a_category_that_is_not_clear_keeps_an_image_watched() -> None:
    assert replay([[-9, -1]] * 4, [INF, INF], CheckSchedule(clear_margin=5))[0] == (0, 1, 2, 3)


@given(
    margins=st.lists(st.lists(st.floats(), min_size=2, max_size=2), max_size=12),
    every=st.integers(1, 5),
    clear=st.none() | st.floats(0, 10),
)
def test_suspicion_is_followed_up_at_the_very_next_step(
    margins: list[list[float]], every: int, clear: float | None
) -> None:
    checked, ended = replay(margins, [INF, INF], CheckSchedule(every, clear))
    assert ended is None
    assert checked[:1] == tuple(range(len(margins)))[:1]
    for step in checked:
        if not max(margins[step]) <= 0 and any(not value <= 0 for value in margins[step]):
            assert step + 1 in checked or step + 1 == len(margins)


@pytest.mark.parametrize("bad", [{"every": 0}, {"clear_margin": -1.0}, {"clear_margin": NAN}], ids=str)
def test_a_senseless_setting_is_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        CheckSchedule(**bad)  # type: ignore[arg-type]
