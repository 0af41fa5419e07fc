"""What came of a zero-shot test: shares with intervals, class by class, and what was taken for what.

Shapes: N images, K classes, T <= 5 classes ranked for each image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latent_guard.errors import InputError
from latent_guard.intervals import Estimate, proportion
from latent_guard.zero_shot.class_set import ClassSet

RANKED = 5

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ClassOutcome:
    """One class: its images, and the other class that they were most often taken for, with how many times."""

    name: str
    top1: Estimate
    top5: Estimate
    taken_for: str
    times: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """How one model classified N >= 1 images: ``ranked`` (N, T) holds class numbers by falling similarity."""

    classes: ClassSet
    labels: Integers
    ranked: Integers

    def __post_init__(self) -> None:
        if not len(self.labels):
            raise InputError("no image was classified; see what was skipped and why")

    def top(self, k: int) -> Estimate:
        """The share of images whose label is among the k most similar classes, k at most 5."""
        return proportion(self._hits(k))

    def per_class(self) -> list[ClassOutcome]:
        """The classes that have images, in order."""
        confusion, first, five = self.confusion(), self._hits(1), self._hits(RANKED)
        outcomes = []
        for number in np.unique(self.labels):
            wrong, own = confusion[number].copy(), self.labels == number
            wrong[number] = 0
            taken, times = int(wrong.argmax()), int(wrong.max())
            name = self.classes.names[taken] if times else ""
            shares = proportion(first[own]), proportion(five[own])
            outcomes.append(ClassOutcome(self.classes.names[number], *shares, name, times))
        return outcomes

    def confusion(self) -> Integers:
        """(K, K): how many images of each class (row) were taken for each class (column)."""
        counts = np.zeros((len(self.classes),) * 2, dtype=np.int64)
        np.add.at(counts, (self.labels, self.ranked[:, 0]), 1)
        return counts

    def _hits(self, k: int) -> NDArray[np.bool_]:
        hits: NDArray[np.bool_] = (self.ranked[:, :k] == self.labels[:, None]).any(axis=1)
        return hits
