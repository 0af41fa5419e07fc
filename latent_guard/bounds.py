"""What numbers may be, wherever they come from: options, recipes, specs, policies, a model's config.

The limits are far beyond what anybody is known to need. Past them lies what was not meant, and what would take all
memory, or hours, before it failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from latent_guard.errors import InputError

MOST_SEED = 2**63 - 1  # what torch's generators take
MOST_STEPS = 10_000  # of denoising, before a pipeline is known; each scheduler has its own number
MOST_IMAGES = 1_000_000  # of a run, a task, a list
MOST_AT_ONCE = 4_096  # images in one batch or call
MOST_PIXELS = 4_096  # of a side
MOST_GUIDANCE = 1_000.0  # I2P has prompts with 150
MOST_SEARCH = 100_000  # iterations, queries, draws


def require_whole(what: str, value: Any, least: int, most: int) -> int:
    """The value, if it is a whole number within limits; raises InputError, which names ``what`` it is, if not."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(f"{what} must be a whole number from {least:,} to {most:,}, not {_shown(value)}")
    return value


def require_number(what: str, value: Any, least: float, most: float, *, over: bool = False) -> float:
    """The value, if it is a number within limits; ``over``: larger than ``least``, which itself is not allowed.

    Raises:
        InputError: no number, not finite, or too small or large; names ``what`` it is.
    """
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not least <= value <= most or (over and value == least):
        limits = f"over {least:,g} and at most {most:,g}" if over else f"from {least:,g} to {most:,g}"
        raise InputError(f"{what} must be a number {limits}, not {_shown(value)}")
    return float(value)


@dataclass(frozen=True)
class Bounds:
    """From `least` to `most`, both included; `whole` numbers only."""

    least: float
    most: float
    whole: bool = False

    def check(self, what: str, value: Any) -> None:
        """Raise InputError, which names `what` it is, for anything but a number within the bounds."""
        if self.whole:
            require_whole(what, value, int(self.least), int(self.most))
        else:
            require_number(what, value, self.least, self.most)


def _shown(value: Any) -> str:
    """Python writes no whole number of more than 4,300 digits."""
    return repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "one of more than 20 digits"
