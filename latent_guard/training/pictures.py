"""Images of any kind as the pictures that a VAE encodes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.training.aspects import PictureShape, nearest_shape


def read_picture(image: bytes, shapes: Sequence[PictureShape]) -> Tensor:
    """An image file as uint8 (3, H, W): turned upright, scaled, its middle cut out.

    H and W are those of the shape that loses least of it. What is transparent becomes white.

    Raises:
        InputError: not an image, a truncated one, or one whose numbers have no known range.
    """
    try:
        with Image.open(io.BytesIO(image)) as opened:
            upright = _rgb(ImageOps.exif_transpose(opened))
            shape = nearest_shape(shapes, *upright.size)
            cut = ImageOps.fit(upright, (shape.width, shape.height), Image.Resampling.LANCZOS)
    except InputError:
        raise
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error and others
        raise InputError(f"not an image that can be read: {_reason(error)}") from error
    return torch.from_numpy(np.array(cut)).permute(2, 0, 1).contiguous()


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise InputError("an image of floating-point numbers, whose white is unknown")
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip at 255
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured).convert("RGB")
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    if "cannot identify image file" in str(error):  # goes on with an address in memory: no two runs would agree
        return "unknown format"
    return " ".join(str(error).split())[:200] or type(error).__name__
