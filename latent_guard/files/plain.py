"""Plain files, which can be read to their end: a pipe would block, and a device never ends."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from latent_guard.errors import InputError


def require_plain(path: Path) -> None:
    """Raise OSError for what is no plain file, before a library that takes a path opens it."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))


@contextmanager
def plain_file(path: Path, max_bytes: int | None = None) -> Iterator[IO[bytes]]:
    """A file, of at most ``max_bytes`` bytes, to read from.

    Raises:
        InputError: it is another kind of file, longer, not there, or cannot be opened.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise InputError("it is not a plain file")
        if max_bytes is not None and about.st_size > max_bytes:
            raise InputError(f"it has {about.st_size:,} bytes, and at most {max_bytes:,} are read")
        file = path.open("rb")
    except FileNotFoundError as error:
        raise InputError("no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise InputError(f"it cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    with file:
        yield file
