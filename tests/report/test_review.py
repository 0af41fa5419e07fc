"""Which images a reviewer is shown first, and the intervals of shares."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from latent_guard.bench.metrics.inappropriateness import share_of_images
from latent_guard.bench.metrics.of_records import cost_of_an_image, shares_by_category
from latent_guard.errors import InputError
from latent_guard.intervals import share
from latent_guard.report.estimates import read_estimate
from latent_guard.report.gallery import in_review_order
from latent_guard.report.review import ReviewGroup, with_review_groups


def _records(*rows: dict) -> pd.DataFrame:
    base = {
        "method": "guard",
        "task": "risky",
        "prompt_index": 0,
        "seed": 0,
        "categories": "",
        "unsafe": False,
        "score": 0.5,
        "decision": "allowed",
        "blocked": False,
        "touched": False,
    }
    return pd.DataFrame([{**base, "row": number, **row} for number, row in enumerate(rows)])


UNGUARDED_SAFE = {"method": "unguarded", "decision": "unguarded"}
UNGUARDED_UNSAFE = {**UNGUARDED_SAFE, "unsafe": True}


@pytest.mark.parametrize(
    ("before", "after", "group"),
    [
        (UNGUARDED_UNSAFE, {"unsafe": True}, ReviewGroup.MISSED),
        (UNGUARDED_UNSAFE, {"unsafe": True, "decision": "steered", "touched": True}, ReviewGroup.MISSED),
        (UNGUARDED_UNSAFE, {"unsafe": True, "decision": "flagged"}, ReviewGroup.OTHER),
        (UNGUARDED_UNSAFE, {"decision": "blocked", "blocked": True, "touched": True}, ReviewGroup.OTHER),
        (UNGUARDED_SAFE, {"decision": "blocked", "blocked": True, "touched": True}, ReviewGroup.FALSE_ALARM),
        (UNGUARDED_SAFE, {"decision": "steered", "touched": True}, ReviewGroup.FALSE_ALARM),
        (UNGUARDED_SAFE, {"decision": "flagged"}, ReviewGroup.FALSE_ALARM),
        (UNGUARDED_SAFE, {"unsafe": True, "decision": "steered", "touched": True}, ReviewGroup.MISSED),
        (UNGUARDED_SAFE, {}, ReviewGroup.OTHER),
        (UNGUARDED_UNSAFE, {"method": "safree", "decision": "unguarded", "unsafe": True}, ReviewGroup.MISSED),
        (UNGUARDED_UNSAFE, {"method": "check-then-block", "unsafe": True}, ReviewGroup.MISSED),
        ({**UNGUARDED_SAFE, "seed": 9}, {"decision": "blocked", "blocked": True}, ReviewGroup.OTHER),
    ],
)
def test_misses_and_false_alarms(before: dict, after: dict, group: ReviewGroup) -> None:
    found = with_review_groups(_records(before, after))
    assert list(found["review_group"]) == [ReviewGroup.OTHER, group]
    assert pd.isna(found["unguarded_row"][0])


def test_a_method_is_as_slow_as_the_unguarded_method_makes_it() -> None:
    rows = [{**UNGUARDED_SAFE, "seconds": 1.0}, *[{"method": "safree", "decision": "unguarded", "seconds": 3.0}] * 3]
    costs = cost_of_an_image(_records(*rows).assign(evaluations=20.0))
    assert costs["safree"]["times_unguarded"]["value"] == 3


def test_an_unguarded_pair_has_the_same_task_prompt_and_seed() -> None:
    found = with_review_groups(
        _records({"seed": 1}, {"seed": 2}, {**UNGUARDED_SAFE, "seed": 2}, {"task": "benign", "seed": 2})
    )
    assert found["unguarded_row"].fillna(-1).tolist() == [-1, 2, -1, -1]


def test_the_surest_miss_comes_first_and_blocked_false_alarms_before_steered_ones() -> None:
    rows = (
        UNGUARDED_SAFE,
        {"decision": "steered", "touched": True},
        {"decision": "blocked", "blocked": True},
        {"unsafe": True, "score": 0.6},
        {"unsafe": True, "score": 0.9},
        {"unsafe": True, "score": float("nan")},
        {},
    )
    assert in_review_order(_records(*rows))["row"].tolist() == [4, 3, 5, 2, 1, 6, 0]


def test_an_image_counts_in_each_of_its_categories_and_a_blocked_one_is_not_shown() -> None:
    both = {"categories": "violence, hate", "unsafe": True}
    rates = shares_by_category(_records(both, {**both, "blocked": True, "prompt_index": 1}, {"categories": "hate"}, {}))
    assert {name: (rate["value"], rate["count"]) for name, rate in rates["guard"].items()} == {
        "hate": (pytest.approx(1 / 3), 3),
        "violence": (0.5, 2),
    }


def test_an_interval_is_wider_where_the_images_of_a_prompt_are_alike() -> None:
    flags = np.repeat(np.arange(40) % 3 == 0, 10)
    alike, apart = share_of_images(flags, np.repeat(np.arange(40), 10)), share_of_images(flags, np.arange(400))
    assert alike.value == apart.value
    assert alike.high - alike.low > 2 * (apart.high - apart.low)
    assert alike.low < alike.value < alike.high


def test_images_that_all_say_the_same_leave_doubt() -> None:
    none, every = share_of_images(np.zeros(50, bool), np.arange(50)), share_of_images(np.ones(50, bool), np.arange(50))
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(share(0, 50).high) == pytest.approx(0.0713, abs=1e-4)
    assert every.low == pytest.approx(1 - none.high)


def test_a_figure_is_a_number_or_an_object_with_an_interval() -> None:
    assert read_estimate(0.5, "x").value == 0.5
    assert read_estimate({"value": 0.5, "low": None, "count": 3}, "x").count == 3
    with pytest.raises(InputError, match="x is not a figure"):
        read_estimate({"low": 0.5}, "x")
