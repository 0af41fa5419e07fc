"""Opening untrusted images: one list of formats, and one bound on their size, for every reader of images."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import cache
from io import BytesIO
from pathlib import Path
from threading import RLock
from typing import IO, TYPE_CHECKING

from latent_guard.errors import InputError, reason_of
from latent_guard.files.plain import plain_file

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
# By content alone Pillow would also hand a page description, named .png, to an interpreter.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# How an .ico begins, and a PNG in it. Pillow would decode it before its size is known, and its largest size alone.
_ICON, _PNG = b"\0\0\1\0", b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 64_000_000  # of one frame, which takes 256 MB as RGBA; with its decoder's copies 1.2 GB at worst
MAX_PIXELS_IN_ALL = 1_000_000_000  # of all frames, which are decoded one after another: half a minute at worst
MAX_BYTES = 512 << 20
LARGE = 4096 * 4096  # pixels; larger images are scaled down as soon as possible
_one_large = RLock()  # threads that read many images at once decode large ones one after another


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read, of those that this Pillow was built with; .ico is read here."""
    from PIL import Image

    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@contextmanager
def opened_picture(source: Path | bytes, side: int | None = None) -> Iterator[Picture]:
    """Decode an image: of several frames the first, of an icon's sizes the largest.

    Args:
        source: a plain file, or its bytes.
        side: pixels a side that the image will be scaled to; a large JPEG is decoded no finer than that needs.

    Raises:
        InputError: it is not an image of a known format, is damaged or too large, or cannot be read.
    """
    with closing(_frames(source, None, side)) as found:
        yield next(found)


def frames(source: Path | bytes, max_frames: int, side: int | None = None) -> Iterator[Picture]:
    """All frames of an image, or all sizes of an icon, each decoded when it is asked for.

    Args:
        source: a plain file, or its bytes.
        max_frames: the largest number of frames.
        side: as for ``opened_picture``.

    Raises:
        InputError: as ``opened_picture``; or there are too many frames, or too many pixels in all of them.
    """
    return _frames(source, max_frames, side)


@contextmanager
def image_errors() -> Iterator[None]:
    """Turn whatever Pillow raises inside the block into ``InputError``."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError as error:  # its own message ends in an address in memory: no two runs would agree
        raise InputError("not a readable picture (unknown format: Pillow cannot identify it)") from error
    except MemoryError as error:
        raise InputError("there is too little memory to decode it; scale it down") from error
    except Exception as error:  # Pillow's decoders raise a dozen unrelated types for damaged files
        raise InputError(f"not a readable picture ({reason_of(error)})") from error


def content_of(path: Path) -> bytes:
    """The bytes of a plain file.

    Raises:
        InputError: as ``opened_picture``.
    """
    with image_errors(), plain_file(path, MAX_BYTES) as file:
        return file.read()


def _require_few_bytes(count: int, most: int | None) -> None:
    if most is not None and count > most:
        raise InputError(f"it has {count:,} bytes, and at most {most:,} are read")


def _frames(source: Path | bytes, most: int | None, side: int | None) -> Generator[Picture]:
    """At most ``most`` frames; None: the first of any number."""
    with image_errors(), _stream(source) as file:
        beginning = file.read(len(_ICON))
        file.seek(0)
        found = _icons(file, most) if beginning == _ICON else _pages(file, most, side)
        pixels = 0
        for frame in found:
            pixels += frame.width * frame.height
            _require_few_in_all(pixels)
            with _one_large if most is None and pixels > LARGE else nullcontext():
                frame.load()
                yield frame


@contextmanager
def _stream(source: Path | bytes) -> Iterator[IO[bytes]]:
    if isinstance(source, bytes):
        _require_few_bytes(len(source), MAX_BYTES)
        yield BytesIO(source)
        return
    with plain_file(source, MAX_BYTES) as file:
        yield file


def _pages(file: IO[bytes], most: int | None, side: int | None) -> Iterator[Picture]:
    """A picture's frames before they are decoded; the first that comes out is the only one of a still picture."""
    from PIL import Image

    picture = Image.open(file, formats=formats())
    _require_few_pixels(picture.size)
    count = 1 if most is None else getattr(picture, "n_frames", 1)
    _require_few_frames(count, most)
    _require_few_in_all(count * picture.width * picture.height)
    if count == 1 and side and picture.format == "JPEG" and picture.width * picture.height > LARGE:
        picture.draft(None, (finest(side), finest(side)))
    for number in range(count):
        picture.seek(number)
        _require_few_pixels(picture.size)  # pages may be of several sizes
        yield picture


def _icons(file: IO[bytes], most: int | None) -> Iterator[Picture]:
    """An icon's sizes, the largest first. What its list says of them need not be so."""
    from PIL import BmpImagePlugin, IcoImagePlugin, PngImagePlugin

    icon = IcoImagePlugin.IcoFile(file)
    if not icon.entry:
        raise InputError("not a readable picture (an icon without a size)")
    _require_few_frames(len(icon.entry), most)
    for number, entry in enumerate(icon.entry):
        file.seek(entry.offset)
        is_png = file.read(len(_PNG)) == _PNG
        file.seek(entry.offset)
        _require_few_pixels((PngImagePlugin.PngImageFile if is_png else BmpImagePlugin.DibImageFile)(file).size)
        yield icon.frame(number)


def _require_few_frames(count: int, most: int | None) -> None:
    if most is not None and count > most:
        raise InputError(f"it has {count} frames, and at most {most} can be read; split it up")


def _require_few_in_all(pixels: int) -> None:
    if pixels > MAX_PIXELS_IN_ALL:
        raise InputError(f"its frames have over {MAX_PIXELS_IN_ALL:,} pixels in all; split it up")


def _require_few_pixels(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise InputError(f"it has {width:,} x {height:,} pixels, and at most {MAX_PIXELS:,} are read; scale it down")


def finest(side: int) -> int:
    """Pixels along a side that are enough for a picture that will be scaled to ``side``."""
    return 3 * side
