"""Numbers that others give, within the bounds of what they can mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from latent_guard.errors import InputError


@dataclass(frozen=True)
class Bounds:
    """From `least` to `most`, both included; `whole` numbers only."""

    least: float
    most: float
    whole: bool = False

    def check(self, where: str, value: Any) -> None:
        """Raise InputError, `where` it stands first, for anything but a number within the bounds; a NaN is in none."""
        kinds = (int,) if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not self.least <= value <= self.most:
            kind = "a whole number" if self.whole else "a number"
            raise InputError(f"{where} must be {kind} from {self.least:g} to {self.most:g}, not {value!r}")
