from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from latent_guard.errors import InputError
from latent_guard.training.encoding.images import PictureShape, read_picture
from tests.training.images import jpeg

SQUARE = (PictureShape(8, 8),)


def stored(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def colour(content: bytes) -> list[int]:
    """Of the middle pixel."""
    return read_picture(content, SQUARE)[:, 4, 4].tolist()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert colour(stored(clear.convert(mode) if mode != "PA" else clear.quantize(4))) == [255, 255, 255]


def test_a_palette_with_a_transparent_colour_shows_white_there() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    assert colour(stored(image)) == [0, 0, 255]
    assert colour(stored(image, transparency=1)) == [255, 255, 255]


def test_sixteen_bits_of_grey_keep_their_brightness() -> None:
    half = Image.fromarray(np.full((8, 8), 32768, dtype=np.uint16))
    assert colour(stored(half)) == [127, 127, 127]


def test_cmyk_is_shown_as_rgb() -> None:
    assert colour(stored(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF")) == [255, 0, 0]


def test_numbers_without_a_known_white_are_refused() -> None:
    floats = stored(Image.fromarray(np.full((8, 8), 0.5, dtype=np.float32)), "TIFF")
    with pytest.raises(InputError, match="floating-point"):
        read_picture(floats, SQUARE)


@pytest.mark.parametrize("size", [(1, 1), (30_000, 1), (1, 30_000)])
def test_pictures_of_any_sides_are_read(size: tuple[int, int]) -> None:
    picture = read_picture(stored(Image.new("RGB", size, "red")), (PictureShape(8, 8), PictureShape(4, 12)))
    assert picture.shape == ((3, 8, 8) if size[0] <= size[1] else (3, 4, 12))
    assert torch.equal(picture.flatten(1).float().mean(1), torch.tensor([255.0, 0, 0]))


def test_a_picture_is_turned_upright_before_its_shape_is_chosen() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    lying = stored(Image.new("RGB", (24, 8)), "JPEG", exif=exif)
    assert read_picture(lying, (PictureShape(4, 12), PictureShape(12, 4))).shape == (3, 12, 4)


def bomb() -> bytes:
    """A small file that claims 30,000 x 30,000 pixels."""
    content = bytearray(stored(Image.new("L", (8, 8)), "BMP"))
    content[18:26] = (30_000).to_bytes(4, "little") * 2
    return bytes(content)


def test_what_is_no_usable_image_is_refused_with_the_reason() -> None:
    for image, reason in (
        (b"", "unknown format"),
        (jpeg(0)[:300], "(?i)truncated"),
        (bomb(), "decompression bomb"),
    ):
        with pytest.raises(InputError, match=reason):
            read_picture(image, SQUARE)
