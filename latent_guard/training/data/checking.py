"""Checks that a folder's shards are as they were written, and the command that makes damaged ones again.

Every byte is read once. The file system's size, times and inode of each checked file are then kept beside the shards
(checked.json), and later starts compare these alone. So every change by a program is detected; bytes that the disk
itself loses are detected at the first check, and after the folder was copied.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.checksums import Checksum
from latent_guard.files.sealed import read_sealed, sealed
from latent_guard.terminal import progress

SETTINGS = "encode.json"
CHECKED = "checked.json"
_READERS = 8  # hashing waits for the disk, not for Python's lock
_CLOCK_TICK = 2.0  # seconds; a younger file could change again without another modification time


def require_unchanged(folder: Path, checksums: Mapping[str, Checksum], *, read_all: bool = True) -> None:
    """Raise InputError for the first file that is missing or has another content (without ``read_all``: size)."""
    for file, checksum in checksums.items():
        _require(folder / file, checksum.size_problem(folder / file))
    if not read_all:
        return
    known = _checked_states(folder)
    states = {file: _state(folder / file, checksum) for file, checksum in checksums.items()}  # before they are read
    new_states = {file: state for file, state in states.items() if known.get(file) != state}
    if not new_states:
        return
    with ThreadPoolExecutor(_READERS) as readers:
        problems = readers.map(lambda file: checksums[file].problem(folder / file), new_states)
        with progress() as bar:
            tracked = bar.track(problems, len(new_states), description="checking shards")
            for file, problem in zip(new_states, tracked, strict=True):
                _require(folder / file, problem)
    settled = time.time_ns() - int(_CLOCK_TICK * 1e9)
    kept = {file: state for file, state in new_states.items() if max(state[1:3]) < settled}
    with suppress(InputError):  # a read-only folder or a full disk: the files are read again the next time
        write_atomic(folder / CHECKED, sealed({"files": {**known, **kept}}))


def fix_for(folder: Path) -> str:
    """Say in a message how to make a folder's damaged or missing files again."""
    if not (folder / SETTINGS).exists():
        return "write the shards again"
    try:
        command = str(read_sealed(folder / SETTINGS, "the settings")["command"])
    except (InputError, KeyError):
        command = ""
    return f"run `{command}` again" if command else "run the same `latent-guard encode` again"


def _require(path: Path, problem: str | None) -> None:
    if problem:
        raise InputError(f"{path} {problem}; {fix_for(path.parent)}")


def _state(path: Path, checksum: Checksum) -> list[Any]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, checksum.sha256]


def _checked_states(folder: Path) -> dict[str, Any]:
    try:
        return dict(read_sealed(folder / CHECKED, "the list of checked shards")["files"])
    except (InputError, KeyError, TypeError, ValueError):
        return {}
