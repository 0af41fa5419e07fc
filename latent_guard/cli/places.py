"""Places that commands write to: whatever would be found out after minutes of work is found out before any.

``OutFolder`` and ``OutFile`` are parsers of options and arguments, so a command that declares one cannot forget to ask.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from latent_guard.errors import InputError
from latent_guard.files.atomic import part_name, writing


@dataclass(frozen=True)
class OutFolder:
    """Parser of an option or argument (its name is for the message) that names a folder to write into."""

    option: str
    __name__ = "folder"  # what the help calls its value

    def __call__(self, value: str | Path) -> Path:
        return require_folder(value, self.option)


@dataclass(frozen=True)
class OutFile:
    """Parser of an option that names a file to write; with ``read_if_there``, one that exists is only read."""

    option: str
    suffixes: tuple[str, ...] = ()
    read_if_there: bool = False
    __name__ = "file"

    def __call__(self, value: str | Path) -> Path:
        if self.read_if_there and os.path.isfile(value):
            return Path(value)
        return require_file(value, self.option, self.suffixes)


def require_folder(place: str | Path, option: str) -> Path:
    """The folder, which need not exist yet, once a file was made in it and removed; leaves nothing behind.

    Raises:
        InputError: no file can be made there.
    """
    with _refused(place, f"into {option}"):
        found = _found(place)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            raise InputError(f"{option} {place} is not a folder; name a folder")
        _try_out(Path(place), "file")
    return Path(place)


def require_file(place: str | Path, option: str, suffixes: tuple[str, ...] = ()) -> Path:
    """The file, which need not exist yet, once one like it was made beside it and removed; leaves nothing behind.

    Raises:
        InputError: it cannot be written, or has none of these suffixes (any will do without).
    """
    path = Path(place)
    with _refused(place, option):
        found = _found(place)
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise InputError(f"{option} {place} is a folder; name a file in it")
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise InputError(f"{option} {place} is not a plain file; name another file")
        if suffixes and path.suffix not in suffixes:
            raise InputError(f"{option} {place} must end in {' or '.join(suffixes)}")
        _try_out(path.parent, part_name(path).name)
    return path


def _found(place: str | Path) -> os.stat_result | None:
    """What is there; None where nothing is."""
    if not os.fspath(place):
        raise OSError("it is empty")
    try:
        return os.stat(place)
    except FileNotFoundError:
        if os.path.islink(place):
            raise OSError("it is a link to what does not exist") from None
        return None


def _try_out(folder: Path, name: str) -> None:
    """Make a file of that name, in folders called like the missing ones.

    They stand in one of their own: another process, which is about to write there, loses nothing when they go.
    """
    standing = next(parent for parent in (folder, *folder.absolute().parents) if _found(parent) is not None)
    missing = folder.absolute().parts[len(standing.absolute().parts) :]
    if ".." in missing:
        raise OSError("there is a '..' below what does not exist")
    with TemporaryDirectory(dir=standing, prefix=".latent-guard-") as own:
        inner = Path(own, *missing)
        inner.mkdir(parents=True, exist_ok=True)
        (inner / name).write_bytes(b"\n")


@contextmanager
def _refused(place: str | Path, what: str) -> Iterator[None]:
    try:
        with writing(f"{what} {os.fspath(place) or repr('')}"):
            yield
    except ValueError as error:  # a NUL
        raise InputError(f"cannot write {what} {place} ({error}); choose another place") from error
