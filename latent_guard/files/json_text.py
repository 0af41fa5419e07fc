"""JSON that any file, log and terminal takes."""

from __future__ import annotations

import json
import re
from typing import Any

from latent_guard.errors import UNPRINTABLE

_BUT_SPACES = re.compile(f"(?![\t\n\r]){UNPRINTABLE.pattern}")


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON in the letters of its texts; what is not to be printed in them is escaped."""
    return escaped(json.dumps(value, indent=indent, ensure_ascii=False))


def escaped(text: str) -> str:
    """JSON that means the same: controls and lone surrogates, which ``json`` leaves as they are, become ``\\uXXXX``."""
    return _BUT_SPACES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
