"""The limits of numbers, wherever they come from: options, recipes, specs, policies, a model's config.

The limits are far beyond what anybody is known to need. Past them lies what was not meant, and what would take all
memory, or hours, before it failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from latent_guard.errors import InputError

MAX_SEED = 2**63 - 1  # what torch's generators take
MAX_STEPS = 10_000  # of denoising, before a pipeline is known; each scheduler has its own number
MAX_IMAGES = 1_000_000  # of a run, a task, a list
MAX_BATCH = 4_096  # images in one batch or call
MAX_SIDE = 4_096  # of a side
MAX_GUIDANCE = 1_000.0  # I2P has prompts with 150
MAX_SEARCH = 100_000  # iterations, queries, draws


def require_whole(what: str, value: Any, minimum: int, maximum: int) -> int:
    """The value, if it is a whole number within limits; raises InputError, which names ``what`` it is, if not."""
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise InputError(f"{what} must be a whole number from {minimum:,} to {maximum:,}, not {_shown(value)}")
    return value


def require_number(what: str, value: Any, minimum: float, maximum: float, *, exclusive: bool = False) -> float:
    """The value, if it is a number within limits; ``exclusive``: larger than ``minimum``, which itself is not allowed.

    Raises:
        InputError: no number, not finite, or too small or large; names ``what`` it is.
    """
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not minimum <= value <= maximum or (exclusive and value == minimum):
        limits = f"over {minimum:,g} and at most {maximum:,g}" if exclusive else f"from {minimum:,g} to {maximum:,g}"
        raise InputError(f"{what} must be a number {limits}, not {_shown(value)}")
    return float(value)


@dataclass(frozen=True)
class Bounds:
    """From ``minimum`` to ``maximum``, both included; ``whole`` numbers only."""

    minimum: float
    maximum: float
    whole: bool = False

    def check(self, what: str, value: Any) -> None:
        """Raise InputError, which names ``what`` it is, for anything but a number within the bounds."""
        if self.whole:
            require_whole(what, value, int(self.minimum), int(self.maximum))
        else:
            require_number(what, value, self.minimum, self.maximum)


def _shown(value: Any) -> str:
    """Python writes no whole number of more than 4,300 digits."""
    return repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "one of more than 20 digits"
