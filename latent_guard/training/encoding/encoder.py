"""The encoder of pictures and captions: a VAE of diffusers and a tokenizer, with their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines import vae
from latent_guard.training.encoding.images import PictureShape, native_shapes

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Encoder:
    """A VAE and a tokenizer, with the settings by which images and captions become samples.

    Attributes:
        vae: VAE of diffusers, in evaluation mode, on the device that it runs on.
        name: folder or hub id of the VAE.
        tokenizer: tokenizer of the captions.
        size: pixels along a side of the square that images are scaled and cut to.
        dtype: dtype of the stored latents, "float16" or "bfloat16".
        batch: number of pictures encoded at once.
        native_aspect: whether images are cut to the nearest of a few shapes of that area instead of the square.
    """

    vae: Any
    name: str
    tokenizer: CLIPTokenizer
    size: int
    dtype: str
    batch: int
    native_aspect: bool = False

    @property
    def latent_space(self) -> LatentSpace:
        return LatentSpace.of_vae(self.vae)

    def shapes(self) -> tuple[PictureShape, ...]:
        """The shapes that pictures are cut to.

        Raises:
            InputError: the VAE cannot encode pictures of this size.
        """
        space = self.latent_space
        if self.size % (multiple := space.factor * space.patch):
            raise InputError(f"size {self.size} is not a multiple of {multiple}, as {space} needs")
        return native_shapes(self.size, multiple) if self.native_aspect else (PictureShape(self.size, self.size),)

    @torch.inference_mode()
    def latents(self, pictures: Tensor) -> Tensor:
        """Encode uint8 pictures (B, 3, height, width) to raw latents (B, C, H, W), posterior means, on the CPU."""
        return vae.encode(self.vae, pictures).to("cpu", DTYPES[self.dtype])
