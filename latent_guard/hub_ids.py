"""What an id on the Hugging Face hub looks like."""

from __future__ import annotations

import re
from pathlib import Path

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(source: Path | str) -> bool:
    """Whether a string has the form owner/name; a ``Path`` is never one."""
    return isinstance(source, str) and _HUB_ID.fullmatch(source) is not None
