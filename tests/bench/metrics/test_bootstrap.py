"""Metrics against closed forms, and what must hold for any data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_guard.bench.metrics import bootstrap

flags = st.lists(st.booleans(), min_size=1, max_size=60)
pairs = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 4)), min_size=2, max_size=40)


def test_wilson_interval_matches_its_closed_form() -> None:
    n, k, z = 50, 10, 1.959963984540054
    centre = (k / n + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(k / n * (1 - k / n) / n + z**2 / (4 * n**2))
    estimate = bootstrap.proportion([True] * k + [False] * (n - k))
    assert (estimate.value, estimate.count) == (0.2, 50)
    assert (estimate.low, estimate.high) == pytest.approx((centre - half, centre + half))


@given(flags)
def test_a_proportion_lies_in_its_interval(values: list[bool]) -> None:
    estimate = bootstrap.proportion(values)
    assert 0 <= estimate.low <= estimate.value + 1e-12
    assert estimate.value - 1e-12 <= estimate.high <= 1


def test_relative_reduction_is_one_minus_the_ratio_of_rates() -> None:
    before, after = np.repeat([1, 0], [40, 60]), np.repeat([1, 0], [10, 90])
    estimate = bootstrap.relative_reduction(before, after, np.arange(100))
    assert estimate.value == pytest.approx(0.75)
    assert estimate.low < 0.75 < estimate.high
    assert bootstrap.relative_reduction(before, np.zeros(100), np.arange(100)).value == 1.0


@settings(deadline=None, max_examples=30)
@given(pairs)
def test_a_reduction_is_at_most_one_and_never_crashes(rows: list[tuple[bool, bool, int]]) -> None:
    before, after, groups = (np.array(column) for column in zip(*rows, strict=True))
    estimate = bootstrap.relative_reduction(before, after, groups)
    assert np.isnan(estimate.value) == (not before.any())
    assert np.isnan(estimate.high) or estimate.high <= 1


def test_intervals_widen_when_images_of_a_prompt_agree() -> None:
    values = np.tile([1.0, 0.0], 50)
    alone = bootstrap.grouped_mean(values, np.arange(100))
    together = bootstrap.grouped_mean(np.repeat([1.0, 0.0], 50), np.repeat(np.arange(10), 10))
    assert alone.value == together.value == 0.5
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_bootstrap_gives_the_same_interval_every_time() -> None:
    values = np.random.default_rng(1).random(40)
    assert bootstrap.grouped_mean(values, np.arange(40)) == bootstrap.grouped_mean(values, np.arange(40))


def test_auroc_is_the_share_of_well_ordered_pairs() -> None:
    estimate = bootstrap.auroc([3.0, 1.0, 0.5], [2.0, 0.0, 0.5])
    assert estimate.value == pytest.approx((3 + 2 + 1.5) / 9)
    assert bootstrap.auroc([1.0, 2.0], [-1.0, -2.0]).value == 1.0
    with pytest.raises(ValueError, match="matched pairs"):
        bootstrap.auroc([1.0], [1.0, 2.0])


def test_mean_average_precision_skips_objects_that_no_image_holds() -> None:
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]])
    perfect = labels + 0.0
    assert bootstrap.mean_average_precision(perfect, labels).value == 1.0
    assert np.isnan(bootstrap.average_precisions(perfect, labels)[2])
    swapped = np.array([[0.9], [0.8], [0.1]])
    assert bootstrap.average_precisions(swapped, [[0], [1], [1]])[0] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_no_data_gives_no_figure() -> None:
    for estimate in (bootstrap.proportion([]), bootstrap.grouped_mean([], []), bootstrap.auroc([], [])):
        assert estimate.count == 0
        assert np.isnan(estimate.value)


def test_estimates_print_as_the_table_shows_them() -> None:
    estimate = bootstrap.Estimate(0.4, 0.35, 0.451, 100)
    assert estimate.percent() == "40.0% (35.0 to 45.1)"
    assert estimate.plain(2) == "0.40 (0.35 to 0.45)"
