"""Writing files whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, then move it there: a reader, or a crash, never meets half of it."""
    with moved_to(path) as partial:
        partial.write_bytes(content)


def link_whole(source: Path, path: Path) -> None:
    """The same file under a second name, or a copy of it where the file system has no such names, whole or not at all.

    Only for files that are replaced and never written into: else a change of one would be a change of both.
    """
    with moved_to(path) as partial:
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)


@contextmanager
def moved_to(path: Path) -> Iterator[Path]:
    """A name beside a file's place; what is made there takes that place when the block ends without an error."""
    partial = path.with_name(f"{path.name}.{uuid4().hex}.part")  # two processes, of two machines, may write one file
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
