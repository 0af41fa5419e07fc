"""Whether a folder's shards are still what was written into it, and what to run where they are not.

Every byte is read once, and then remembered beside the shards by what the file system says of a file (checked.json):
a later start looks at that alone. So damage by whatever writes is always found; a disk that silently forgets is found
once, and again after the folder was copied.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from latent_guard.errors import InputError
from latent_guard.files.atomic import write_whole
from latent_guard.files.checksums import Checksum
from latent_guard.files.sealed import read_sealed, sealed
from latent_guard.terminal import progress

SETTINGS, CHECKED = "encode.json", "checked.json"
_READERS = 8  # hashing waits for the disk, and for no lock of Python's
_SETTLED = 2.0  # seconds: a file could be changed again within one tick of the file system's clock


def require_unchanged(folder: Path, checksums: Mapping[str, Checksum], *, thorough: bool = True) -> None:
    """Raise InputError for the first file that is missing or of another content; ``thorough``: else of another size."""
    for file, checksum in checksums.items():
        _require(folder / file, checksum.wrong_size(folder / file))
    if not thorough:
        return
    known = _remembered(folder)
    left = {file: found for file, found in checksums.items() if known.get(file) != _state(folder / file, found)}
    if not left:
        return
    states = {file: _state(folder / file, found) for file, found in left.items()}  # before they are read
    with ThreadPoolExecutor(_READERS) as readers:
        wrong = readers.map(lambda file: left[file].wrong(folder / file), left)
        with progress() as bar:
            for file, what in zip(left, bar.track(wrong, len(left), description="checking shards"), strict=True):
                _require(folder / file, what)
    settled = time.time_ns() - int(_SETTLED * 1e9)
    fresh = {file: state for file, state in states.items() if max(state[1:3]) < settled}
    with suppress(InputError):  # others' data, or a disk that is full: then it is read again the next time
        write_whole(folder / CHECKED, sealed({"files": {**known, **fresh}}))


def mend(folder: Path) -> str:
    """What makes a folder's damaged or missing files again."""
    if not (folder / SETTINGS).exists():
        return "write the shards again"
    try:
        command = str(read_sealed(folder / SETTINGS, "the settings")["command"])
    except (InputError, KeyError):
        command = ""
    return f"run `{command}` again" if command else "run the same `latent-guard encode` again"


def _require(path: Path, wrong: str | None) -> None:
    if wrong:
        raise InputError(f"{path} {wrong}; {mend(path.parent)}")


def _state(path: Path, checksum: Checksum) -> list[Any]:
    about = path.stat()
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino, checksum.sha256]


def _remembered(folder: Path) -> dict[str, Any]:
    try:
        return dict(read_sealed(folder / CHECKED, "the list of checked shards")["files"])
    except (InputError, KeyError, TypeError, ValueError):
        return {}
