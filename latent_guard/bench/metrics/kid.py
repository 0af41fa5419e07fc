"""Kernel inception distance: whether two sets of pictures look like draws from one distribution.

Shapes: N and M pictures, D feature dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latent_guard.bench.arrays import Floats
from latent_guard.bench.metrics.bootstrap import SEED

SUBSETS = 10


@dataclass(frozen=True)
class KID:
    """The distance, its standard error, and how many subsets of how many pictures it rests on.

    It is unbiased: near 0, and below 0 as often as above it, where the two distributions are one.
    """

    value: float
    standard_error: float
    subsets: int
    size: int


def kid(pictures: Floats, reference: Floats, subsets: int = SUBSETS) -> KID:
    """KID of unit CLIP features (N, D) and (M, D): the mean over disjoint subsets, drawn at random, once.

    Binkowski et al., "Demystifying MMD GANs" (2018), section 4, with CLIP's features for Inception's, and with disjoint
    subsets: theirs may overlap, and the spread of such understates the error. The reference must be other pictures (of
    other seeds or rendered), not the same ones unguarded: a set compared with itself is below 0.

    Raises:
        ValueError: a subset would have fewer than two pictures.
    """
    size = min(len(pictures), len(reference)) // subsets
    if subsets < 2 or size < 2:
        raise ValueError(f"{len(pictures)} and {len(reference)} pictures are too few for {subsets} subsets")
    rng = np.random.default_rng(SEED)
    chosen = [
        rng.permutation(len(features))[: subsets * size].reshape(subsets, size) for features in (pictures, reference)
    ]
    found = [squared_mmd(pictures[own], reference[other]) for own, other in zip(*chosen, strict=True)]
    return KID(float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(subsets)), subsets, size)


def squared_mmd(first: Floats, second: Floats) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy of unit features (N, D) and (M, D).

    Gretton et al., "A Kernel Two-Sample Test" (2012), equation 3, with the kernel of `cubic`.
    """
    n, m = len(first), len(second)
    within_first = (cubic(first, first).sum() - cubic_of_equals(first)) / (n * (n - 1))
    within_second = (cubic(second, second).sum() - cubic_of_equals(second)) / (m * (m - 1))
    return float(within_first + within_second - 2 * cubic(first, second).mean())


def cubic(first: Floats, second: Floats) -> Floats:
    """(N, M): (cos + 1)^3.

    KID's kernel is (x.y / D + 1)^3 on features whose entries are of the order of 1; unit features times sqrt(D) are
    such, and give the cosine.
    """
    kernel: Floats = (first @ second.T + 1.0) ** 3
    return kernel


def cubic_of_equals(features: Floats) -> float:
    """The sum of the kernel's diagonal."""
    return float(((np.einsum("nd,nd->n", features, features) + 1.0) ** 3).sum())
