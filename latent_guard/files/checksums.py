"""Size and SHA-256 of files that are read long after they were written, so that damage is noticed.

A disk is read faster than latents or images are made by a factor of fifty and more, and hashing keeps up with it (1.5
GB/s on one core with SHA instructions), so the files of a long run are read once when it is resumed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from latent_guard.errors import InputError

_BLOCK = 1 << 20
_TRAILER = b"\nsha256 "  # then 64 hexadecimal digits, at the very end of a file


@dataclass(frozen=True)
class Checksum:
    """The checksum of a file, or of bytes that become one."""

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Checksum:
        return cls(len(content), hashlib.sha256(content).hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Checksum:
        with open(path, "rb") as file:
            return _read(file, path.stat().st_size)

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Checksum | None:
        """The checksum in a manifest's entry; None where it has none, as before there were checksums.

        Raises:
            ValueError: the entry has only half of one.
        """
        size, sha256 = said.get("size"), said.get("sha256")
        if size is None and sha256 is None:
            return None
        if not isinstance(size, int) or not isinstance(sha256, str):
            raise ValueError("a checksum is a size and a SHA-256")
        return cls(size, sha256)

    def size_problem(self, path: Path) -> str | None:
        """The problem with a file's size, in words that follow its name; None where the size is right."""
        try:
            about = path.stat()
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        if not stat.S_ISREG(about.st_mode):
            return "is not a plain file"
        if about.st_size < self.size:
            return f"is truncated ({about.st_size:,} of {self.size:,} bytes)"
        return f"has {about.st_size:,} bytes, not {self.size:,}" if about.st_size > self.size else None

    def problem(self, path: Path) -> str | None:
        """The problem with a file after every byte of it was read; None where it is the same file."""
        try:
            return self.size_problem(path) or (None if Checksum.of_file(path) == self else "was changed (its SHA-256)")
        except OSError as error:
            return f"cannot be read ({error.strerror})"


class HashedFile:
    """A file that is written from its beginning to its end, and whose checksum is then known without reading it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest, self._size = file, hashlib.sha256(), 0

    def write(self, content: bytes) -> int:
        self._digest.update(content)
        self._size += len(content)
        return self._file.write(content)

    def tell(self) -> int:
        return self._size

    @property
    def checksum(self) -> Checksum:
        """The checksum of all that was written so far."""
        return Checksum(self._size, self._digest.hexdigest())


def append_checksum(path: Path) -> None:
    """Append a file's own SHA-256 to it, as a second file could be of another moment.

    A zip archive is read as before, since readers search for its directory from the end.
    """
    digest = Checksum.of_file(path).sha256
    with open(path, "ab") as file:
        file.write(_TRAILER + digest.encode())


def verify_appended(path: Path) -> bool:
    """Whether a file ends with a checksum.

    Raises:
        InputError: it does, and it is that of other bytes.
        OSError: it cannot be read.
    """
    length = len(_TRAILER) + 64
    with open(path, "rb") as file:
        body = file.seek(0, os.SEEK_END) - length
        file.seek(max(0, body))
        end = file.read()
        if body < 0 or not end.startswith(_TRAILER):
            return False
        file.seek(0)
        found = _read(file, body)
    if found.sha256.encode() != end[len(_TRAILER) :]:
        raise InputError(f"{path} was changed since it was written")
    return True


def _read(file: BinaryIO, size: int) -> Checksum:
    digest, left = hashlib.sha256(), size
    while left and (block := file.read(min(left, _BLOCK))):
        digest.update(block)
        left -= len(block)
    return Checksum(size - left, digest.hexdigest())
