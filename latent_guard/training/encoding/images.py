"""Images of any kind as the pictures that a VAE encodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from latent_guard.files.images import opened_picture
from latent_guard.files.upright import shown
from latent_guard.training.encoding.aspect_buckets import PictureShape, nearest_shape


def read_picture(image: bytes, shapes: Sequence[PictureShape]) -> Tensor:
    """An image file as uint8 (3, H, W): turned upright, scaled, its middle cut out.

    H and W are those of the shape that loses least of it. What is transparent becomes white.

    Raises:
        InputError: not an image, a truncated or too large one, or one whose numbers have no known range.
    """
    side = max(max(shape.width, shape.height) for shape in shapes)
    with opened_picture(image, side) as opened:
        upright = shown(opened, side)
    shape = nearest_shape(shapes, *upright.size)
    cut = ImageOps.fit(upright, (shape.width, shape.height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(cut)).permute(2, 0, 1).contiguous()
