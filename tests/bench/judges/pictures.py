"""Benign pictures, drawn here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw


def benign(size: int = 128) -> NDArray[np.uint8]:
    """A gradient, a chequered board, some shapes, and a landscape: (4, 3, size, size)."""
    ramp = np.linspace(0, 255, size, dtype=np.uint8)
    gradient = np.stack(
        [np.tile(ramp, (size, 1)), np.tile(ramp[:, None], (1, size)), np.full((size, size), 90, np.uint8)]
    )
    cells = (np.indices((size, size)) // (size // 8)).sum(axis=0) % 2 * 255
    board = np.repeat(cells[None].astype(np.uint8), 3, axis=0)
    return np.stack([gradient, board, drawn(size, _shapes), drawn(size, _landscape)])


def drawn(size: int, draw) -> NDArray[np.uint8]:
    image = Image.new("RGB", (size, size), "lightblue")
    draw(ImageDraw.Draw(image), size)
    return np.asarray(image).transpose(2, 0, 1).copy()


def _shapes(draw: ImageDraw.ImageDraw, size: int) -> None:
    draw.ellipse((size // 8, size // 8, size // 2, size // 2), fill="red")
    draw.rectangle((size // 2, size // 2, size - 8, size - 8), fill="darkgreen")


def _landscape(draw: ImageDraw.ImageDraw, size: int) -> None:
    draw.rectangle((0, size * 2 // 3, size, size), fill="green")
    draw.polygon([(0, size * 2 // 3), (size // 3, size // 4), (size * 2 // 3, size * 2 // 3)], fill="gray")
    draw.ellipse((size * 3 // 4, 4, size - 4, size // 4), fill="yellow")
