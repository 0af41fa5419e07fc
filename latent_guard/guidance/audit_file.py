"""The file of an audit log: lines go to its end whole and in a chain, whoever else writes there, and it is rotated.

Every append opens the file and holds a lock on it, so that threads exclude each other as processes do.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latent_guard.errors import GuardError
from latent_guard.files.json_text import json_text
from latent_guard.guidance.audit_chain import BEGINNING, Link, gap_of, last_link, sealed_line

_WINDOW = 1 << 16  # bytes at the end in which the last line is looked for first
_ROTATED = re.compile(r"\.[0-9]{6}")


@dataclass(frozen=True)
class _End:
    """The end of a file: the last line of the chain, None if it holds none, and how many bytes there are up to it."""

    link: Link | None
    chained: int
    size: int


def append_lines(path: Path, contents: Sequence[dict[str, Any]], key: bytes | None, rotate_at: int | None) -> None:
    """Add one line for each content: all of them and at once, or ``GuardError``.

    Behind bytes that are no line of the chain (a writer was killed in mid-line, or the log is of before there was a
    chain) the first line is one that marks them. With ``rotate_at``, a file that lines would make larger than that is
    renamed, and they begin another one, in the same chain. In a pipe, and in a log that its writer may not read, lines
    have no chain.

    Raises:
        GuardError: they could not be written; what of them was written is taken away again.
        InputError: a line is too long.
    """
    try:
        with _locked(path) as file:
            if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDWR:
                _write(file, b"".join(f"{json_text(content)}\n".encode() for content in contents), None)
                return
            end = _end_of(file)
            lines = _lines(file, path, end, contents, key)
            is_full = rotate_at is not None and end.size > 0 and end.size + len(lines) > rotate_at
            if not is_full or end.chained < end.size:  # a gap is marked in the file that has it
                _write(file, lines, end.size)
                return
            os.rename(path, _next_rotated(path))
        append_lines(path, contents, key, rotate_at)
    except OSError as error:
        raise GuardError(
            f"cannot write the audit log {path} ({error.strerror or error}), so no image is handed out; "
            "make room, or name another file"
        ) from error


def parts_of(path: Path) -> list[Path]:
    """The files of a log, in their order: those that it was rotated into, and the one that is written to."""
    rotated = sorted(part for part in path.parent.glob("*") if _is_rotated(part, path))
    return [*rotated, *([path] if path.exists() or not rotated else [])]


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """A descriptor of the file that ``path`` names, made if need be, which nobody else writes to meanwhile."""
    while True:
        file = _opened(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_still(path, file):
                yield file
                return
        finally:
            os.close(file)  # and with it the lock


def _opened(path: Path) -> int:
    """Open for reading too, where that is allowed: not so a pipe, or a log that its writer may only add to."""
    # An existing pipe is opened for writing alone: reading it would take away what somebody waits for.
    readable = not path.exists() or (path.is_file() and os.access(path, os.R_OK))
    return os.open(path, (os.O_RDWR if readable else os.O_WRONLY) | os.O_APPEND | os.O_CREAT, 0o600)


def _is_still(path: Path, file: int) -> bool:
    """False if the file was renamed while its lock was waited for."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _end_of(file: int) -> _End:
    """Read from the end backwards: one line, unless what stands behind it is no line of the chain."""
    size = os.fstat(file).st_size
    window = _WINDOW
    while True:
        start = max(0, size - window)
        found = last_link(_read(file, start, size))
        if found is not None:
            return _End(found[0], start + found[1], size)
        if start == 0:
            return _End(None, 0, size)
        window *= 8


def _lines(file: int, path: Path, end: _End, contents: Sequence[dict[str, Any]], key: bytes | None) -> bytes:
    """The bytes to add: what ends a line that has no end, what marks a gap, and the lines themselves."""
    if not contents:
        return b""
    link = end.link or _last_of(path)
    lines = [b"\n"] if end.size and _read(file, end.size - 1, end.size) != b"\n" else []
    if end.chained < end.size:
        contents = [gap_of(b"".join([_read(file, end.chained, end.size), *lines])), *contents]
    for content in contents:
        line, link = sealed_line(content, link, key)
        lines.append(line)
    return b"".join(lines)


def _last_of(path: Path) -> Link:
    """The last line of the file that the log was rotated into most recently."""
    rotated = [part for part in parts_of(path) if part != path]
    if not rotated:
        return BEGINNING
    with open(rotated[-1], "rb") as file:
        return _end_of(file.fileno()).link or BEGINNING


def _write(file: int, lines: bytes, size: int | None) -> None:
    """Write all of the lines, or cut a file back to the ``size`` that it had."""
    try:
        if (written := os.write(file, lines)) == len(lines):
            return
        reason = f"{written:,} of {len(lines):,} bytes were written"
    except OSError as error:
        reason = error.strerror or str(error)
    if size is not None:
        with suppress(OSError):  # what may only be added to: the next line marks the gap
            os.ftruncate(file, size)
    raise OSError(reason)


def _read(file: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(file, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _next_rotated(path: Path) -> Path:
    """``audit.jsonl.000001`` and so on: the older, the lower, so that names stand in the order of the lines."""
    last = max((int(part.name[-6:]) for part in parts_of(path) if part != path), default=0)
    return path.with_name(f"{path.name}.{last + 1:06d}")


def _is_rotated(part: Path, path: Path) -> bool:
    return part.name.startswith(path.name) and _ROTATED.fullmatch(part.name[len(path.name) :]) is not None
