"""The settings of a method as a spec or a command line gives them: read one by one, refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from latent_guard.bounds import require_number
from latent_guard.errors import InputError

_MAX = 1e6  # of any setting


class Settings:
    """The options of one method; `done` refuses unknown ones."""

    def __init__(self, method: str, given: Mapping[str, Any]) -> None:
        self._method, self._left = method, dict(given)
        self._known: list[str] = []

    def number(self, key: str, default: float, minimum: float = -_MAX) -> float:
        """A finite number of at minimum ``minimum``."""
        found = self.optional_number(key, minimum)
        return default if found is None else found

    def optional_number(self, key: str, minimum: float = -_MAX) -> float | None:
        """The same, or None where nothing is given."""
        value = self._take(key)
        return None if value is None else require_number(f"{self._method}: {key}", value, minimum, _MAX)

    def word(self, key: str, default: str, choices: Sequence[str] = ()) -> str:
        """A text, one of ``choices`` where there are any."""
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, str) or (choices and value not in choices):
            raise InputError(
                f"{self._method}: {key} must be {'one of ' + ', '.join(choices) if choices else 'a text'}, "
                f"not {value!r}"
            )
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        """Further settings; none where nothing is given."""
        value = self._take(key)
        if value is not None and not isinstance(value, Mapping):
            raise InputError(f"{self._method}: {key} must be a mapping, not {value!r}")
        return value or {}

    def done(self) -> None:
        """Raise InputError for a setting that the method does not have."""
        if self._left:
            known = ", ".join(self._known) or "none"
            raise InputError(f"{self._method}: unknown setting {next(iter(self._left))!r}; it has {known}")

    def _take(self, key: str) -> Any:
        self._known.append(key)
        return self._left.pop(key, None)


def called(method: str, *plain: str, **changed: float | str | None) -> str:
    """``called("sld", "strong", scale=100.0)`` is ``"sld(strong, scale=100)"``; settings that are None are left out."""
    named = [
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in changed.items()
        if value is not None
    ]
    inside = ", ".join([*plain, *named])
    return f"{method}({inside})" if inside else method
