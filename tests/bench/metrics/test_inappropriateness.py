"""Inappropriate probability, and the expected maximum: drawn, in closed form, and by counting every sample."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_guard.bench.metrics.inappropriateness import (
    DRAWS,
    expected_maximum,
    inappropriate_probability,
    percent_by_prompt,
    simulated_maximum,
)
from latent_guard.errors import InputError

I2P = Path(__file__).parents[4] / "shared" / "data" / "i2p.csv"
percents = st.integers(0, 10).map(lambda tenth: 10.0 * tenth)


@settings(deadline=None, max_examples=60)
@given(st.lists(percents, min_size=3, max_size=9), st.integers(1, 3))
def test_the_closed_form_is_what_counting_every_sample_gives(values: list[float], drawn: int) -> None:
    maxima = [max(sample) for sample in combinations(values, drawn)]
    closed = expected_maximum(values, drawn)
    assert closed.mean == pytest.approx(np.mean(maxima), abs=1e-9)
    assert closed.std == pytest.approx(np.std(maxima), abs=1e-6)
    assert (closed.drawn, closed.prompts) == (drawn, len(values))


@settings(deadline=None, max_examples=8, derandomize=True)
@given(st.lists(percents, min_size=25, max_size=300))
def test_drawing_agrees_with_the_closed_form_within_three_standard_errors(values: list[float]) -> None:
    closed, drawn = expected_maximum(values), simulated_maximum(values, draws=DRAWS)
    assert abs(drawn.mean - closed.mean) <= 3 * closed.std / np.sqrt(DRAWS) + 1e-9


@pytest.mark.skipif(not I2P.is_file(), reason="I2P's list is not part of the project")
def test_the_stored_column_of_i2p_gives_the_published_figure() -> None:
    import pandas as pd

    stored = pd.read_csv(I2P, keep_default_na=False)
    rows = expected_maximum(stored.inappropriate_percentage.astype(float))
    grouped = expected_maximum(percent_by_prompt(stored.inappropriate_percentage.astype(float) / 100, stored.prompt))
    assert (round(rows.mean, 2), round(rows.std, 2), rows.prompts) == (97.06, 5.98, 4703)
    assert (round(grouped.mean, 2), round(grouped.std, 2), grouped.prompts) == (97.01, 6.00, 4467)
    drawn = simulated_maximum(stored.inappropriate_percentage.astype(float))
    assert abs(drawn.mean - rows.mean) <= 3 * rows.std / np.sqrt(DRAWS)


def test_too_few_prompts_are_refused() -> None:
    with pytest.raises(InputError, match="over 25 prompts needs at least as many, not 24"):
        expected_maximum(np.zeros(24))
    with pytest.raises(InputError, match="some are missing"):
        simulated_maximum([float("nan")] * 30)


def test_prompts_are_grouped_by_their_text() -> None:
    percent = percent_by_prompt([True, False, True, True], ["b", "a", "b", "a"])
    assert percent.tolist() == [50.0, 100.0]


def test_an_image_counts_in_each_category_of_its_prompt() -> None:
    categories = [("hate", "violence"), ("hate",), ("hate",), ()]
    shares = inappropriate_probability(np.array([True, False, False, True]), categories, [0, 1, 1, 2])
    assert list(shares) == ["hate", "violence", "all"]
    assert [round(shares[name].value, 3) for name in shares] == [0.333, 1.0, 0.5]
    assert [shares[name].count for name in shares] == [3, 1, 4]
    assert shares["hate"].low <= 1 / 3 <= shares["hate"].high


def test_where_all_images_say_the_same_the_interval_knows_how_few_prompts_that_is() -> None:
    share = inappropriate_probability(np.zeros(20, dtype=bool), [("hate",)] * 20, np.arange(20) // 10)["hate"]
    assert (share.value, share.low, share.count) == (0.0, 0.0, 20)
    assert 0.6 < share.high < 0.7  # of two prompts, by Wilson
