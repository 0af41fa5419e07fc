"""The mathematics of thresholds and probabilities that mean something: pure functions on arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latent_guard.errors import InputError

Floats = NDArray[np.float64]
CONFIDENCE = 0.95  # of one-sided bounds
BINS = 10


def conformal_threshold(harmless: ArrayLike, rate: float, confidence: float | None = None) -> float:
    """The threshold that at most a share ``rate`` of harmless images exceeds.

    Split conformal prediction (Vovk, Gammerman & Shafer 2005; Lei et al. 2018): the k-th smallest of n scores that
    nothing else was fitted on, k = ceil((n + 1)(1 - rate)). A new image that is exchangeable with the n exceeds it with
    probability at most ``rate``, on average over calibration sets. With ``confidence`` the promise is for this very
    set: k is the smallest for which the share of all harmless images above, Beta(n + 1 - k, k), is at most ``rate``
    with that probability (Wilks 1941; Vovk 2012, proposition 2a).

    Args:
        harmless: the scores of n harmless images.
        rate: between 0 and 1.
        confidence: between 0 and 1; None for the promise on average.

    Raises:
        InputError: a rate or confidence outside (0, 1), or too few scores for them.
    """
    scores = np.sort(np.asarray(harmless, dtype=np.float64))
    for name, value in (("rate", rate), ("confidence", confidence)):
        if value is not None and not 0 < value < 1:
            raise InputError(f"the {name} must lie between 0 and 1, not {value}")
    rank = _rank(len(scores), rate) if confidence is None else _confident_rank(len(scores), rate, confidence)
    if rank > len(scores):
        raise InputError(
            f"{len(scores)} harmless images are too few for a false-positive rate of {rate:g}; "
            f"use at least {min_images(rate, confidence)}, or a higher rate"
        )
    return float(scores[rank - 1])


def min_images(rate: float, confidence: float | None = None) -> int:
    """The least number of harmless images that ``conformal_threshold`` takes."""
    if confidence is None:
        return math.ceil(round(1 / rate - 1, 9))
    return math.ceil(math.log(1 - confidence) / math.log(1 - rate))


def _rank(count: int, rate: float) -> int:
    return math.ceil(round((count + 1) * (1 - rate), 9))  # 100 * (1 - 0.05) is 95.00000000000001 elsewhere


def _confident_rank(count: int, rate: float, confidence: float) -> int:
    from scipy.stats import beta

    ranks = np.arange(1, count + 1)
    enough = beta.cdf(rate, count + 1 - ranks, ranks) >= confidence
    return int(ranks[enough][0]) if enough.any() else count + 1


def rate_bounds(exceeding: int, count: int) -> tuple[float, float]:
    """One-sided 95% bounds of a share, lower and upper, each on its own (Clopper & Pearson 1934)."""
    from scipy.stats import binomtest

    test = binomtest(exceeding, count)
    interval = test.proportion_ci(2 * CONFIDENCE - 1, method="exact")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Platt:
    """P(unsafe) = sigmoid(slope * margin + intercept), for as many unsafe images as there were in the fit."""

    slope: float
    intercept: float

    @classmethod
    def fit(cls, margins: ArrayLike, unsafe: ArrayLike) -> Platt:
        """Maximum likelihood on the smoothed targets (N+ + 1)/(N+ + 2) and 1/(N- + 2) of Platt (1999), section 2.2.

        Raises:
            InputError: only safe or only unsafe images.
        """
        from sklearn.linear_model import LogisticRegression

        x = np.asarray(margins, dtype=np.float64)
        y = np.asarray(unsafe, dtype=bool)
        if y.all() or not y.any():
            raise InputError("probabilities need safe and unsafe images to be fitted on; give both")
        target = np.where(y, (y.sum() + 1) / (y.sum() + 2), 1 / ((~y).sum() + 2))
        model = LogisticRegression(C=np.inf).fit(  # each image is both, by the weights of its target
            np.concatenate([x, x])[:, None], np.repeat([1, 0], len(x)), np.concatenate([target, 1 - target])
        )
        return cls(float(model.coef_[0, 0]), float(model.intercept_[0]))

    def probabilities(self, margins: ArrayLike) -> Floats:
        """One probability a margin; 1 for a margin that is not a number."""
        from scipy.special import expit

        x = np.asarray(margins, dtype=np.float64)
        return np.where(np.isnan(x), 1.0, expit(self.slope * x + self.intercept))


@dataclass(frozen=True)
class ReliabilityBin:
    """The images with a probability in (low, high]: how many, their mean probability, the share that is unsafe."""

    low: float
    high: float
    count: int
    probability: float
    frequency: float


def reliability(probabilities: ArrayLike, unsafe: ArrayLike, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Bins of equal width over 0..1, those that hold an image: the points of a reliability diagram."""
    p = np.asarray(probabilities, dtype=np.float64)
    y = np.asarray(unsafe, dtype=bool)
    place = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
    return tuple(
        ReliabilityBin(k / bins, (k + 1) / bins, int(inside.sum()), float(p[inside].mean()), float(y[inside].mean()))
        for k in range(bins)
        if (inside := place == k).any()
    )


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Mean distance of probability and frequency, weighted by count (Guo et al. 2017, equation 3)."""
    total = sum(b.count for b in bins)
    return sum(b.count * abs(b.probability - b.frequency) for b in bins) / total
