"""Writing files whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, then move it there: a reader, or a crash, never meets half of it."""
    partial = path.with_name(f"{path.name}.{uuid4().hex}.part")  # two processes, of two machines, may write one file
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
