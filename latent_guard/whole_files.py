"""Writing files whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, then move it there: a reader, or a crash, never meets half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")  # two processes may write the same file
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
