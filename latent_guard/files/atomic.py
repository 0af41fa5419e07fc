"""Writing files whole or not at all; what a file system refuses is one clear line, whichever library met it."""

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


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, then move it there: a reader, or a crash, never meets half of it.

    Its folder is made.

    Raises:
        InputError: the file system refuses.
    """
    with moved_to(path) as partial:
        partial.write_bytes(content)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """The same for a library that wants a path: what it writes to the one given is moved into place.

    Only one process may write such a file; what a killed one left of it is written over.

    Raises:
        InputError: the file system refuses.
    """
    with _moved_to(path, path.with_name(path.name + PART)) as partial:
        yield partial


def link_whole(source: Path, path: Path) -> None:
    """The same file under a second name, or a copy of it where the file system has no such names, whole or not at all.

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
    """A name beside a file's place; what is made there takes that place when the block ends without an error.

    Raises:
        InputError: the file system refuses.
    """
    with _moved_to(path, part_beside(path)) as partial:
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
def writing(path: Path | str) -> Iterator[None]:
    """What goes wrong inside is that ``path`` cannot be written: for what is neither of the above.

    Raises:
        InputError: the file system refuses.
    """
    try:
        yield
    except Exception as error:
        reason = not_written(error)
        if reason is None:
            raise
        raise InputError(f"cannot write {path} ({reason}); {_mend(error)}") from error


def _mend(error: Exception) -> str:
    if is_full(error):
        return "make room, then run the same command again"
    if isinstance(error, OSError) and error.errno in _IN_THE_WAY:
        return "remove what is in the way, or choose another place"
    return "choose another place"


def part_beside(path: Path) -> Path:
    """A name of its own for what will be ``path``: two processes, of two machines, may write one file."""
    return path.with_name(f"{path.name}.{uuid4().hex}{PART}")


def not_written(error: Exception) -> str | None:
    """Why a file could not be written, if that is what an error says; None for any other error.

    safetensors, torch's writer and tokenizers have no errors of their own for it.
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
