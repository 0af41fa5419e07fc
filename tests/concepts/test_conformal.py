from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_guard.concepts.conformal import (
    Platt,
    conformal_threshold,
    expected_calibration_error,
    min_images,
    rate_bounds,
    reliability,
)
from latent_guard.errors import InputError

RATES = st.integers(5, 500).map(lambda thousandths: thousandths / 1000)


@settings(deadline=None)
@given(n=st.integers(1, 200), rate=RATES)
def test_of_n_plus_one_exchangeable_scores_at_most_the_chosen_share_is_above_its_threshold(n: int, rate: float) -> None:
    scores = np.arange(n + 1.0)
    if n < min_images(rate):
        with pytest.raises(InputError, match="too few"):
            conformal_threshold(scores[:n], rate)
        return
    above = [left_out > conformal_threshold(np.delete(scores, int(left_out)), rate) for left_out in scores]
    assert np.mean(above) <= rate + 1e-9
    assert np.mean(above) > rate - 1 / (n + 1) - 1e-9  # and it is not more timid than it must be


@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_over_many_calibration_sets_the_rate_is_met_on_average_or_with_confidence_in_nearly_each(rate: float) -> None:
    rng = np.random.default_rng(0)
    sets = rng.random((400, 1000))  # of uniform scores, the share above a threshold t is 1 - t
    plain = np.array([1 - conformal_threshold(scores, rate) for scores in sets])
    sure = np.array([1 - conformal_threshold(scores, rate, confidence=0.95) for scores in sets])
    assert plain.mean() == pytest.approx(rate, rel=0.1)
    assert (sure > rate).mean() < 0.08
    assert sure.mean() > 0.4 * rate


@pytest.mark.parametrize("arguments", [{"rate": 0.0}, {"rate": 1.0}, {"rate": 0.1, "confidence": 1.0}])
def test_a_rate_or_confidence_that_is_no_share_is_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        conformal_threshold(np.arange(100.0), **arguments)


@pytest.mark.parametrize(("rate", "confidence", "fewest"), [(0.05, None, 19), (0.01, None, 99), (0.05, 0.95, 59)])
def test_the_fewest_images_are_just_enough(rate: float, confidence: float | None, fewest: int) -> None:
    assert min_images(rate, confidence) == fewest
    assert conformal_threshold(np.arange(float(fewest)), rate, confidence) == fewest - 1
    with pytest.raises(InputError, match=str(fewest)):
        conformal_threshold(np.arange(float(fewest - 1)), rate, confidence)


def test_bounds_of_a_share_hold_it_and_are_those_of_clopper_and_pearson() -> None:
    low, high = rate_bounds(20, 2000)
    assert low < 0.01 < high
    assert rate_bounds(0, 59) == (0.0, pytest.approx(1 - 0.05 ** (1 / 59)))
    assert rate_bounds(29, 2000)[0] > 0.01 > rate_bounds(27, 2000)[0]


@settings(max_examples=15, deadline=None)
@given(slope=st.floats(0.5, 3.0), intercept=st.floats(-2.0, 1.0))
def test_probabilities_recover_the_logistic_law_that_labels_were_drawn_from(slope: float, intercept: float) -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(size=20_000)
    truth = 1 / (1 + np.exp(-slope * margins - intercept))
    fitted = Platt.fit(margins, rng.random(20_000) < truth)
    assert np.abs(fitted.probabilities(margins) - truth).max() < 0.1
    bins = reliability(fitted.probabilities(margins), rng.random(20_000) < truth)
    assert expected_calibration_error(bins) < 0.03


def test_separable_images_get_probabilities_short_of_certainty() -> None:
    fitted = Platt.fit([-2.0, -1.0, 1.0, 2.0], [False, False, True, True])
    low, high = fitted.probabilities([-1.0, 1.0])
    assert 0.0 < low < 0.5 < high < 1.0
    assert fitted.probabilities([math.nan])[0] == 1.0
    with pytest.raises(InputError, match="give both"):
        Platt.fit([1.0, 2.0], [True, True])


def test_a_reliability_diagram_bins_probabilities_and_its_error_weighs_them_by_count() -> None:
    bins = reliability([0.0, 0.1, 0.95, 0.95, 0.95, 1.0], [False, False, True, True, False, True])
    assert [(b.low, b.count) for b in bins] == [(0.0, 2), (0.9, 4)]
    assert bins[1].frequency == 0.75
    assert expected_calibration_error(bins) == pytest.approx((2 * 0.05 + 4 * (0.9625 - 0.75)) / 6)
