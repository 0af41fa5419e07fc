"""Opening pictures that others made: one list of formats, and one bound on their size, for every reader of pictures."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from latent_guard.errors import InputError, one_line

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
MOST_PIXELS = 64_000_000  # of one frame: 8,000 x 8,000 of them take 256 MB as RGBA
MOST_BYTES = 512 << 20


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read.

    By content alone Pillow would also hand a page description, named .png, to an interpreter.
    """
    from PIL import Image

    known = Image.registered_extensions()
    return tuple(sorted({known[suffix] for suffix in SUFFIXES if known.get(suffix) in Image.OPEN}))


@contextmanager
def opened_picture(source: Path | bytes) -> Iterator[Picture]:
    """A picture of a plain file, or in bytes, opened but not decoded yet; what goes wrong inside is ``InputError``.

    Raises:
        InputError: it is no picture of a known format, damaged, too large, or its file is none that can be read.
    """
    from PIL import Image

    content = source if isinstance(source, bytes) else _content(source)
    try:
        with Image.open(BytesIO(content), formats=formats()) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise InputError(
                    f"it has {picture.width:,} x {picture.height:,} pixels, and at most {MOST_PIXELS:,} are read; "
                    "scale it down"
                )
            yield picture
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen unrelated types for damaged files
        raise InputError(f"not a readable picture ({one_line(error, 160)})") from error


def _content(path: Path) -> bytes:
    """A plain file's bytes: a pipe would be waited for, and a device never ends."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            about = os.fstat(file)
            if not stat.S_ISREG(about.st_mode):
                raise InputError("it is not a plain file")
            if about.st_size > MOST_BYTES:
                raise InputError(f"it has {about.st_size:,} bytes, and at most {MOST_BYTES:,} are read")
            with open(file, "rb", closefd=False) as stream:
                return stream.read()
        finally:
            os.close(file)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({one_line(getattr(error, 'strerror', None) or error, 160)})") from error
