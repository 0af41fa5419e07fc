"""Which differences between methods are significant: images paired by prompt and seed, and all comparisons counted.

Shapes: N images of a method, P pairs, C comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from latent_guard.bench.arrays import Floats
from latent_guard.bench.metrics.bootstrap import SEED, Estimate, grouped_difference
from latent_guard.errors import InputError
from latent_guard.intervals import CONFIDENCE

LEVEL = 1 - CONFIDENCE
FLIPS, FLIPS_EACH = 9999, 100  # at least so many, and so many for each comparison that is corrected for
ENOUGH, AT_ONCE = 100, 2**22  # as extreme flips to know a p-value by; signs that are held in memory


@dataclass(frozen=True, eq=False)
class Outcomes:
    """One figure an image of one method: flags, or numbers with NaN where there is none.

    prompts and seeds, both (N,), say what an image is of; no two images of a method share both. Images of one prompt
    are not independent; of a figure that is measured once a call, calls take the place of prompts.
    """

    method: str
    prompts: NDArray[np.int64]
    seeds: NDArray[np.int64]
    values: NDArray[np.bool_] | Floats


@dataclass(frozen=True)
class Comparison:
    """A paired difference, first minus second.

    Attributes:
        metric, first, second: of what, between which methods.
        difference: of the means, with its interval bootstrapped over prompts.
        test: ``McNemar`` or ``sign flips``.
        p_value: of that test alone.
        corrected: the same, for the number of comparisons made together (Holm).
    """

    metric: str
    first: str
    second: str
    difference: Estimate
    test: str
    p_value: float
    corrected: float

    @property
    def significant(self) -> bool:
        """True if the interval is clear of zero, and the test holds among all comparisons."""
        clear = self.difference.low > 0 or self.difference.high < 0
        return bool(clear and self.corrected < LEVEL)


def compare(metric: str, pairs: Sequence[tuple[Outcomes, Outcomes]], among: int = 0) -> list[Comparison]:
    """Every pair of methods on one metric, corrected for their number.

    ``among``: how many comparisons they are `corrected` with afterwards, if more; p-values are as fine as that needs.

    Raises:
        InputError: two methods have no image in common.
    """
    among = max(among, len(pairs))
    return corrected([_comparison(metric, first, second, among) for first, second in pairs])


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons, corrected for their number: those of several metrics can be taken together."""
    adjusted = holm([comparison.p_value for comparison in comparisons])
    return [replace(one, corrected=float(p)) for one, p in zip(comparisons, adjusted, strict=True)]


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """The exact two-sided p-value that paired flags (P,) are true equally often (McNemar 1947).

    Pairs that agree say nothing; of the others, under the hypothesis, half are true in the first.
    """
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def sign_flips(differences: ArrayLike, groups: ArrayLike, among: int = 1) -> float:
    """The two-sided p-value that paired differences (P,) are symmetric about 0, by flipping whole prompts at random.

    Fisher's randomisation test (1935); the sample counts as one of the flips, so that p is never 0 (Phipson & Smyth
    2010). Images of one prompt resemble each other, and are flipped together. The least p is low enough to be
    significant ``among`` that many comparisons; where enough flips are as extreme, no more are drawn (Besag & Clifford
    1991).
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(index, weights=np.asarray(differences, dtype=np.float64))
    rng, most = np.random.default_rng(SEED), max(FLIPS, FLIPS_EACH * among)
    least = abs(sums.sum()) * (1 - 1e-12)  # the same sum in another order may round below
    drawn = extreme = 0
    while drawn < FLIPS or (drawn < most and extreme < ENOUGH):
        rows = min((FLIPS if drawn < FLIPS else most) - drawn, max(1, AT_ONCE // len(sums)))
        signs = 1.0 - 2.0 * rng.integers(2, size=(rows, len(sums)), dtype=np.bool_)
        extreme += int((np.abs(signs @ sums) >= least).sum())
        drawn += rows
    return (1 + extreme) / (1 + drawn)


def holm(p_values: ArrayLike) -> Floats:
    """P-values (C,) corrected for their number (Holm 1979): the chance of even one false difference stays below theirs.

    The smallest counts C times, the next C - 1 times, and so on; none less than one before it, none over 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def paired(first: Outcomes, second: Outcomes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows, (P,) each, at which both have a figure for the same prompt and seed.

    Raises:
        InputError: there are none, or a method has two images of one prompt and seed.
    """
    rows = [_rows(first), _rows(second)]
    common = [key for key in rows[0] if key in rows[1]]
    if not common:
        raise InputError(f"{first.method} and {second.method} have no image of the same prompt and seed to compare")
    own, other = (np.array([found[key] for key in common], dtype=np.int64) for found in rows)
    return own, other


def _comparison(metric: str, first: Outcomes, second: Outcomes, among: int) -> Comparison:
    own, other = paired(first, second)
    one, two, prompts = first.values[own], second.values[other], first.prompts[own]
    difference = grouped_difference(one, two, prompts)
    flags = one.dtype == bool and two.dtype == bool
    if flags and len(np.unique(prompts)) == len(prompts):
        return Comparison(metric, first.method, second.method, difference, "McNemar", *[mcnemar(one, two)] * 2)
    p_value = sign_flips(one.astype(np.float64) - two.astype(np.float64), prompts, among)
    return Comparison(metric, first.method, second.method, difference, "sign flips", p_value, p_value)


def _rows(outcomes: Outcomes) -> dict[tuple[int, int], int]:
    known = ~np.isnan(outcomes.values.astype(np.float64))
    keys = list(zip(outcomes.prompts.tolist(), outcomes.seeds.tolist(), strict=True))
    if len(set(keys)) != len(keys):
        raise InputError(f"{outcomes.method} has two images of one prompt and seed; compare one run of it")
    return {key: row for row, key in enumerate(keys) if known[row]}
