"""Atomic writes of files; what a file system refuses is one clear error, whichever library met it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from safetensors import SafetensorError

from latent_guard.errors import InputError, reason_of

PART = ".part"  # ends the names of files that are being written, and of what a kill leaves of them
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY)
_TORCH_WORDS = ("PytorchStreamWriter failed", "inline_container", "iostream error")  # it has no others
_NO_ROOM_WORDS = ("No space left", "File too large", "quota exceeded", *_TORCH_WORDS)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file beside its place, then move it there, so that no reader and no crash ever leaves half of it.

    Its folder is made.

    Raises:
        InputError: the file system refuses.
    """
    with moved_to(path) as partial:
        partial.write_bytes(content)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """An atomic write for a library that wants a path: what it writes to this one is moved into place.

    Only one process may write such a file; what a killed one left of it is overwritten.

    Raises:
        InputError: the file system refuses.
    """
    with _moved_to(path, path.with_name(path.name + PART)) as partial:
        yield partial


def link_atomic(source: Path, path: Path) -> None:
    """Make a hard link to a file, or an atomic copy where the file system has no links.

    Only for files that are replaced and never written into: else a change of one would be a change of both.

    Raises:
        InputError: the file system refuses.
    """
    with moved_to(path) as partial:
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)


@contextmanager
def moved_to(path: Path) -> Iterator[Path]:
    """A path beside ``path``; the file that is made there is moved to ``path`` when the block ends without an error.

    Raises:
        InputError: the file system refuses.
    """
    with _moved_to(path, part_name(path)) as partial:
        yield partial


@contextmanager
def moved_into(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder``; each file that is made there is moved into it when the block ends without an error.

    For libraries that want a folder and choose the names themselves.

    Raises:
        InputError: the file system refuses.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, suffix=PART) as beside:
            yield Path(beside)
            for file in sorted(Path(beside).iterdir()):
                os.replace(file, folder / file.name)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside ``folder`` that takes its place, and that of what lies there, at the block's end.

    After an error, or a kill, there is what was there before.

    Raises:
        InputError: the file system refuses.
    """
    place = Path(os.path.realpath(folder))
    partial, earlier = part_name(place), part_name(place)
    with writing(folder):
        try:
            partial.mkdir(parents=True)
            yield partial
            if place.exists():
                os.replace(place, earlier)
            os.replace(partial, place)
        except BaseException:
            if earlier.exists() and not place.exists():
                os.replace(earlier, place)
            raise
        finally:
            for left in (partial, earlier):
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn errors of the file system inside the block into one that names ``path``.

    Raises:
        InputError: the file system refuses.
    """
    try:
        yield
    except Exception as error:
        reason = write_failure(error)
        if reason is None:
            raise
        raise InputError(f"cannot write {path} ({reason}); {_mend(error)}") from error


def _mend(error: Exception) -> str:
    if is_full(error):
        return "make room, then run the same command again"
    if isinstance(error, OSError) and error.errno in _IN_THE_WAY:
        return "remove what is in the way, or choose another place"
    return "choose another place"


def for_the_owner(path: str, flags: int) -> int:
    """An opener for ``open`` whose new files none but their owner reads."""
    return os.open(path, flags, 0o600)


def part_name(path: Path) -> Path:
    """A unique name beside ``path``, since processes of several machines may write one file."""
    return path.with_name(f"{path.name}.{uuid4().hex}{PART}")


def write_failure(error: Exception) -> str | None:
    """The reason why a file could not be written, if an error says so; None for any other error.

    safetensors, torch's writer and tokenizers have no types of errors for it.
    """
    if isinstance(error, OSError):
        return error.strerror or reason_of(error)
    is_writers = isinstance(error, SafetensorError | RuntimeError) or type(error) is Exception
    says_so = "os error" in str(error) or "I/O error" in str(error) or is_full(error)
    return reason_of(error) if is_writers and says_so else None


def is_full(error: Exception) -> bool:
    """Whether an error says that there is no room for a file."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return any(words in str(error) for words in _NO_ROOM_WORDS)


@contextmanager
def _moved_to(path: Path, partial: Path) -> Iterator[Path]:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
