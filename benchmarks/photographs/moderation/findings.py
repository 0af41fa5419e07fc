"""What ``latent-guard check`` found, as arrays, and the figures that come of them.

Shapes: N photographs, K categories.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.photographs.moderation.pictures import Flags, Numbers, number_of
from latent_guard.concepts.bank import ConceptBank

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Findings:
    """The scores (N, K) of the photographs with these numbers (N,), rising, in one condition."""

    numbers: Numbers
    scores: Floats

    def margins(self, bank: ConceptBank) -> Floats:
        """(N,): the furthest that a photograph is over a threshold, in any category."""
        furthest: Floats = self.by_category(bank).max(axis=1)
        return furthest

    def by_category(self, bank: ConceptBank) -> Floats:
        """(N, K): how far a photograph is over each category's threshold."""
        over: Floats = self.scores - bank.thresholds[:, 0].double().numpy()
        return over

    def of(self, numbers: Numbers) -> Findings:
        """Those of some photographs, all of which were checked."""
        rows = np.searchsorted(self.numbers, numbers)
        return Findings(self.numbers[rows], self.scores[rows])


def read_findings(path: Path, categories: tuple[str, ...]) -> dict[str, Findings]:
    """The findings of each condition, which is the folder that a file lies in."""
    found: dict[str, dict[int, list[float]]] = {}
    for line in path.read_text().splitlines():
        finding = json.loads(line)
        file = Path(finding["file"])
        scores = [float(finding["scores"][category]) for category in categories]
        found.setdefault(file.parent.name, {})[number_of(file.name)] = scores
    return {
        condition: Findings(np.array(sorted(rows)), np.array([rows[number] for number in sorted(rows)]))
        for condition, rows in found.items()
    }


def at_equal_false_positives(margins: Floats, unsafe: Flags, rate: float) -> Flags:
    """Which photographs (N,) are flagged once all thresholds are shifted alike: a share ``rate`` of the harmless ones.

    The share is met as nearly from below as their number allows.
    """
    harmless = np.sort(margins[~unsafe])[::-1]
    allowed = int(rate * harmless.size)
    flagged: Flags = margins > harmless[min(allowed, harmless.size - 1)]
    return flagged
