"""What happens to a picture before a moderator sees it."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image, ImageOps

AS_IT_IS = "as it is"
KEPT = 7 / 8  # of each side of a cropped photograph
Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def _same(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture


def _resized(picture: Image.Image, rng: np.random.Generator, factor: float) -> Image.Image:
    return picture.resize((round(factor * picture.width), round(factor * picture.height)), Image.Resampling.BICUBIC)


def _cropped(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    wide, high = round(KEPT * picture.width), round(KEPT * picture.height)
    left, top = int(rng.integers(picture.width - wide + 1)), int(rng.integers(picture.height - high + 1))
    return picture.crop((left, top, left + wide, top + high))


def _noisy(picture: Image.Image, rng: np.random.Generator, deviation: float) -> Image.Image:
    pixels = np.asarray(picture, dtype=np.float64)
    noisy = pixels + deviation * rng.standard_normal(pixels.shape)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def _gray(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture.convert("L").convert("RGB")


def _mirrored(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageOps.mirror(picture)


# The change, and the quality of the JPEG that it is kept as; None for PNG.
CONDITIONS: dict[str, tuple[Change, int | None]] = {
    **{f"JPEG {quality}": (_same, quality) for quality in (95, 75, 50, 30)},
    "half the size": (partial(_resized, factor=0.5), None),
    "twice the size": (partial(_resized, factor=2.0), None),
    "cropped": (_cropped, None),
    "noise": (partial(_noisy, deviation=10.0), None),
    "gray": (_gray, None),
    "mirrored": (_mirrored, None),
}


def changed(content: bytes, condition: str, rng: np.random.Generator) -> tuple[bytes, str]:
    """An image file of a photograph in a condition, and the suffix of its name."""
    if condition == AS_IT_IS:
        return content, ".jpg"
    change, quality = CONDITIONS[condition]
    picture = change(Image.open(io.BytesIO(content)).convert("RGB"), rng)
    written = io.BytesIO()
    if quality is None:
        picture.save(written, "PNG", compress_level=1)
        return written.getvalue(), ".png"
    picture.save(written, "JPEG", quality=quality)
    return written.getvalue(), ".jpg"
