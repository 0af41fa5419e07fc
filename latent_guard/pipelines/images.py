"""A pipeline's images one by one, whatever their format, and together again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.pipelines.vae import MID_GRAY


def images_of(output: Any) -> Any:
    """The images, or videos, of what a pipeline's call returns: a tuple's first, or the field that holds them."""
    return output[0] if isinstance(output, tuple) else getattr(output, _field(output))


def with_images(output: Any, images: Any) -> Any:
    """What a pipeline's call returns, with other images."""
    if isinstance(output, tuple):
        return (images, *output[1:])
    setattr(output, _field(output), images)
    return output


def _field(output: Any) -> str:
    """The field of pictures, which Kandinsky 5 names otherwise, or of videos."""
    found = [name for name in ("images", "image", "frames") if hasattr(output, name)]
    if not found:
        raise InputError(f"the pipeline gave a {type(output).__name__}, which holds no images, image or frames")
    return found[0]


class Pictures:
    """The images of a pipeline call, one by one in ``rows``: PIL images, or rows of an array or tensor."""

    def __init__(self, images: Any, output_type: str) -> None:
        self._container = type(images)
        self._output_type = output_type
        self.rows = list(images)

    def make_gray(self, place: int) -> None:
        """Replace one picture by mid-gray; a masked latent is neutral already and stays."""
        row = self.rows[place]
        if isinstance(row, np.ndarray):
            self.rows[place] = np.full_like(row, MID_GRAY / 255)
        elif not isinstance(row, Tensor):
            self.rows[place] = Image.new(row.mode, row.size, (MID_GRAY,) * len(row.getbands()))
        elif self._output_type != "latent":
            self.rows[place] = torch.full_like(row, MID_GRAY / 255)

    def joined(self) -> Any:
        """The images in the format that they came in."""
        if issubclass(self._container, np.ndarray):
            return np.stack(self.rows)
        if issubclass(self._container, Tensor):
            return torch.stack(self.rows)
        return self.rows
