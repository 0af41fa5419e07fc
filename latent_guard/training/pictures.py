"""Images of any kind as the square pictures that a VAE encodes."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from latent_guard.errors import InputError


def read_picture(image: bytes | str | None, size: int) -> Tensor:
    """An image file's bytes, or its path, as uint8 (3, size, size): turned upright, scaled, cut to its middle square.

    Raises:
        InputError: not an image, or a truncated one.
    """
    if not image:
        raise InputError("no image")
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGB")
            square = ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS)
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error and others
        raise InputError(f"not an image that can be read: {_reason(error)}") from error
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()


def _reason(error: Exception) -> str:
    if "cannot identify image file" in str(error):  # goes on with an address in memory: no two runs would agree
        return "unknown format"
    return " ".join(str(error).split())[:200] or type(error).__name__
