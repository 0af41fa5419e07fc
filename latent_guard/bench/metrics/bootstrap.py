"""Metrics: pure functions on arrays, each figure with a 95% interval.

Images of one prompt resemble each other, so intervals of what prompts cause are bootstrapped over prompts, not images.
Shapes: N images, K objects; ``groups`` (N,) says which prompt each image belongs to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from latent_guard.bench.arrays import Floats
from latent_guard.intervals import CONFIDENCE
from latent_guard.intervals import Estimate as Estimate
from latent_guard.intervals import proportion as proportion

RESAMPLES, AUROC_RESAMPLES = 2000, 300
SEED = 0


def grouped_mean(values: ArrayLike, groups: ArrayLike) -> Estimate:
    """Mean over images, with an interval bootstrapped over prompts."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return Estimate.of_nothing()
    return _ratio_of_sums(array, np.ones_like(array), np.asarray(groups))


def grouped_ratio(numerator: ArrayLike, denominator: ArrayLike, groups: ArrayLike) -> Estimate:
    """Sum over sum of two paired arrays (one entry an image), with an interval bootstrapped over prompts."""
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    if top.size == 0 or not bottom.any():
        return Estimate.of_nothing()
    return _ratio_of_sums(top, bottom, np.asarray(groups))


def median_ratio(numerator: ArrayLike, denominator: ArrayLike) -> Estimate:
    """Median over median of two paired arrays, such as seconds of interleaved runs, bootstrapped over the pairs."""
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    if top.size == 0:
        return Estimate.of_nothing()
    drawn = _resamples(top.size, RESAMPLES)
    low, high = _percentiles(np.median(top[drawn], axis=1) / np.median(bottom[drawn], axis=1))
    return Estimate(float(np.median(top) / np.median(bottom)), low, high, top.size)


def relative_reduction(before: ArrayLike, after: ArrayLike, groups: ArrayLike) -> Estimate:
    """1 - rate(after) / rate(before), images paired, with an interval bootstrapped over prompts."""
    ratio = grouped_ratio(after, before, groups)
    return Estimate(1 - ratio.value, 1 - ratio.high, 1 - ratio.low, ratio.count)


def grouped_difference(first: ArrayLike, second: ArrayLike, groups: ArrayLike) -> Estimate:
    """mean(first) - mean(second) of two paired arrays, with an interval bootstrapped over prompts."""
    return grouped_mean(np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64), groups)


def auroc(positive_scores: ArrayLike, negative_scores: ArrayLike) -> Estimate:
    """Area under the ROC curve of matched pairs, row i of both being one pair; bootstrapped over pairs."""
    positive, negative = np.asarray(positive_scores, np.float64), np.asarray(negative_scores, np.float64)
    if positive.shape != negative.shape or positive.ndim != 1:
        raise ValueError(f"matched pairs need equal one-dimensional arrays, not {positive.shape} and {negative.shape}")
    if positive.size == 0:
        return Estimate.of_nothing()

    def area(first: Floats, second: Floats) -> float:
        labels = np.repeat([1, 0], [first.size, second.size])
        return float(roc_auc_score(labels, np.concatenate([first, second])))

    drawn = [area(positive[rows], negative[rows]) for rows in _resamples(positive.size, AUROC_RESAMPLES)]
    low, high = _percentiles(np.array(drawn))
    return Estimate(area(positive, negative), low, high, positive.size)


def average_precisions(probabilities: ArrayLike, labels: ArrayLike) -> Floats:
    """Average precision of each object, (K,): NaN where no image holds it. Arguments are (N, K)."""
    scores, truth = np.asarray(probabilities), np.asarray(labels, dtype=bool)
    columns = range(truth.shape[1])
    return np.array(
        [average_precision_score(truth[:, k], scores[:, k]) if truth[:, k].any() else np.nan for k in columns]
    )


def mean_average_precision(probabilities: ArrayLike, labels: ArrayLike) -> Estimate:
    """Mean of the objects' average precisions (macro), with an interval bootstrapped over objects."""
    values = average_precisions(probabilities, labels)
    values = values[~np.isnan(values)]
    return grouped_mean(values, np.arange(values.size))


def _ratio_of_sums(top: Floats, bottom: Floats, groups: NDArray[Any]) -> Estimate:
    _, index = np.unique(groups, return_inverse=True)
    tops, bottoms = np.bincount(index, weights=top), np.bincount(index, weights=bottom)
    drawn = _resamples(len(tops), RESAMPLES)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = tops[drawn].sum(axis=1) / bottoms[drawn].sum(axis=1)
    low, high = _percentiles(ratios)
    return Estimate(float(top.sum() / bottom.sum()), low, high, top.size)


def _resamples(size: int, count: int) -> NDArray[np.int64]:
    """(count, size) rows drawn with replacement, the same ones every time. None of one row: it has no spread."""
    return np.random.default_rng(SEED).integers(size, size=(count if size > 1 else 0, size))


def _percentiles(drawn: Floats) -> tuple[float, float]:
    """The percentile interval (B. Efron, 1979) of resampled figures."""
    drawn = drawn[np.isfinite(drawn)]  # a resample without a single event in its denominator has no ratio
    if not drawn.size:
        return float("nan"), float("nan")
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)
