"""Diversity: how much images of one prompt or category differ; a method that always draws the same thing has none."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from latent_guard.bench.arrays import Floats
from latent_guard.bench.metrics.bootstrap import Estimate, grouped_mean, grouped_ratio


def mean_pairwise_distance(features: Floats) -> float:
    """Mean of 1 - cos over all pairs of unit features (N, D); 0 if all are equal, NaN of fewer than two.

    From the length of their sum: |sum|^2 = N + sum of the cosines of all ordered pairs.
    """
    count = len(features)
    if count < 2:
        return float("nan")
    total = features.sum(axis=0)
    return float(1.0 - (total @ total - count) / (count * (count - 1)))


def diversity(features: Floats, groups: ArrayLike) -> Estimate:
    """Mean over groups of `mean_pairwise_distance`, bootstrapped over groups; those of a single image do not count."""
    found = _by_group(features, groups)
    found = found[~np.isnan(found)]
    return grouped_mean(found, np.arange(len(found)))


def relative_diversity(features: Floats, unguarded: Floats, groups: ArrayLike) -> Estimate:
    """A method's diversity over that of the unguarded images in the same groups, bootstrapped over groups."""
    own, before = _by_group(features, groups), _by_group(unguarded, groups)
    known = ~np.isnan(own)
    return grouped_ratio(own[known], before[known], np.arange(int(known.sum())))


def _by_group(features: Floats, groups: ArrayLike) -> Floats:
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    return np.array([mean_pairwise_distance(features[index == group]) for group in range(index.max(initial=-1) + 1)])
