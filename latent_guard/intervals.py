"""A figure with its 95% interval; and shares, whose interval is Wilson's."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure, its 95% interval where it has one, and how many samples it rests on; NaN where there are none."""

    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 0

    @classmethod
    def of_nothing(cls) -> Estimate:
        """What can be said without a sample."""
        return cls(math.nan)

    def to_dict(self) -> dict[str, float | None]:
        """Plain data for JSON, which has no NaN: None instead."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items()}

    def percent(self) -> str:
        """``"42.0% (38.1 to 46.0)"``."""
        if not self.count:
            return "no images"
        return f"{self.value:.1%} ({100 * self.low:.1f} to {100 * self.high:.1f})"

    def plain(self, digits: int = 3) -> str:
        """``"0.987 (0.981 to 0.992)"``."""
        if not self.count:
            return "no images"
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def proportion(flags: ArrayLike) -> Estimate:
    """Share of true flags with Wilson's interval, for independent samples."""
    array = np.asarray(flags, dtype=bool)
    return share(int(array.sum()), array.size)


def share(hits: int, count: int) -> Estimate:
    """The share ``hits`` of ``count`` independent samples, with Wilson's interval (E. B. Wilson, 1927)."""
    from scipy.stats import binomtest

    if count == 0:
        return Estimate.of_nothing()
    interval = binomtest(hits, count).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(hits / count, float(interval.low), float(interval.high), count)
