"""Decoded images as people see them: upright, on white, in 8-bit RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.errors import InputError
from latent_guard.files.images import LARGE, finest, image_errors

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_BITS_PER_SAMPLE = 258  # a TIFF tag
_ORIENTATION = 0x0112  # an EXIF tag


def upright_rgb(picture: Picture, side: int) -> Picture:
    """Convert an image to 8-bit RGB, upright, with transparent parts white.

    A large one is scaled down, though not so far that scaling it to about ``side`` pixels a side would show it.

    Raises:
        InputError: its numbers have no known value for white.
    """
    from PIL import Image, ImageOps

    with image_errors():
        upright = _smaller(_eight_bits(picture), side)
        if upright.getexif().get(_ORIENTATION, 1) != 1:
            upright = ImageOps.exif_transpose(upright)
        if not upright.has_transparency_data:
            return upright.convert("RGB")
        coloured = upright if upright.mode == "RGBA" else upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured).convert("RGB")


def _eight_bits(picture: Picture) -> Picture:
    """A picture with at most 8 bits a channel; Pillow's own conversion would clip more than that to white."""
    if picture.mode == "F" or (picture.mode == "I" and picture.format not in ("PNG", "PPM")):  # theirs have 16 bits
        kind = "floating-point" if picture.mode == "F" else "32-bit"
        raise InputError(
            f"its {kind} numbers (mode {picture.mode}) have no known white; save it with 8 or 16 bits a channel"
        )
    if not picture.mode.startswith("I"):
        return picture
    bits = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
    white = 2**bits - 1
    return picture.convert("I").point([min(n * 255 // white, 255) for n in range(2**16)], "L")


def _smaller(picture: Picture, side: int) -> Picture:
    """A large picture with fewer pixels: each of the next steps takes a copy of it."""
    factor = min(picture.size) // finest(side)
    if picture.width * picture.height <= LARGE or factor < 2:
        return picture
    if picture.has_transparency_data and picture.mode not in ("LA", "RGBA"):
        picture = picture.convert("RGBA")
    elif picture.mode in ("1", "P"):
        picture = picture.convert("RGB")
    return picture.reduce(factor)
