"""The few shapes that pictures are cut to where their aspect ratio is kept: batches then hold one shape each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

ASPECTS = ((1, 1), (4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (9, 16))
_SIDE, _DOUBLINGS = 8, 3


@dataclass(frozen=True)
class PictureShape:
    """Sides in pixels."""

    height: int
    width: int

    def kept(self, width: int, height: int) -> float:
        """The part of a picture's area that is left when it is scaled to cover this shape and cut to it: 0 to 1."""
        one, other = width * self.height, height * self.width
        return min(one, other) / max(one, other)


def native_shapes(size: int, multiple: int) -> tuple[PictureShape, ...]:
    """For each of ``ASPECTS`` the shape of about ``size`` ** 2 pixels; the first is the square itself.

    Sides are multiples of ``multiple``, which divides ``size``, and where an eighth of ``size`` allows it of 2, 4 or
    8 times that: so that a Latent-CLIP's patches of 2, 4 or 8 positions fit into the latents.
    """
    finer = [multiple << doublings for doublings in range(_DOUBLINGS + 1)]
    unit = max(side for side in finer if side == multiple or (size % side == 0 and side * _SIDE <= size))
    shapes = [
        PictureShape(height=_rounded(size / sqrt(wide / high), unit), width=_rounded(size * sqrt(wide / high), unit))
        for wide, high in ASPECTS
    ]
    return tuple(dict.fromkeys(shapes))  # small sizes leave fewer


def nearest_shape(shapes: Sequence[PictureShape], width: int, height: int) -> PictureShape:
    """The one that cuts least away from a picture; the first of several."""
    return max(shapes, key=lambda shape: shape.kept(width, height))


def _rounded(side: float, unit: int) -> int:
    return max(1, round(side / unit)) * unit
