"""Images of any kind as the pictures that a VAE encodes: upright, scaled, and cut to one of a few shapes.

Where aspect ratios are kept, a few shapes are enough, so that batches hold pictures of one shape each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from latent_guard.files.images import opened_picture
from latent_guard.files.upright import upright_rgb

ASPECTS = ((1, 1), (4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (9, 16))
_MIN_UNITS = 8  # a side of ``size`` pixels is at least this many units
_MAX_DOUBLINGS = 3


@dataclass(frozen=True)
class PictureShape:
    """The sides of a picture in pixels."""

    height: int
    width: int

    def kept(self, width: int, height: int) -> float:
        """The fraction (0..1) of a picture's area that is left when it is scaled to cover this shape and cut to it."""
        wide = width * self.height
        high = height * self.width
        return min(wide, high) / max(wide, high)


def native_shapes(size: int, multiple: int) -> tuple[PictureShape, ...]:
    """Make a shape of about ``size`` ** 2 pixels for each of ``ASPECTS``; the first is the square itself.

    Sides are multiples of ``multiple``, which divides ``size``, and where an eighth of ``size`` allows it of 2, 4 or
    8 times that: so that a Latent-CLIP's patches of 2, 4 or 8 positions fit into the latents.
    """
    units = [multiple << doublings for doublings in range(_MAX_DOUBLINGS + 1)]
    unit = max(side for side in units if side == multiple or (size % side == 0 and side * _MIN_UNITS <= size))
    shapes = [
        PictureShape(height=_rounded(size / sqrt(wide / high), unit), width=_rounded(size * sqrt(wide / high), unit))
        for wide, high in ASPECTS
    ]
    return tuple(dict.fromkeys(shapes))  # small sizes leave fewer


def nearest_shape(shapes: Sequence[PictureShape], width: int, height: int) -> PictureShape:
    """The shape that cuts least away from a picture; the first of several."""
    return max(shapes, key=lambda shape: shape.kept(width, height))


def read_picture(image: bytes, shapes: Sequence[PictureShape]) -> Tensor:
    """Read an image file as uint8 (3, H, W): turned upright, scaled, and cut to its middle.

    H and W are those of the shape that cuts least away. Transparent pixels become white.

    Raises:
        InputError: the file is no image, truncated or too large, or its numbers have no known range.
    """
    side = max(max(shape.width, shape.height) for shape in shapes)
    with opened_picture(image, side) as opened:
        upright = upright_rgb(opened, side)
    shape = nearest_shape(shapes, *upright.size)
    cut = ImageOps.fit(upright, (shape.width, shape.height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(cut)).permute(2, 0, 1).contiguous()


def _rounded(side: float, unit: int) -> int:
    return max(1, round(side / unit)) * unit
