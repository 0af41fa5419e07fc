"""Pixels in the place of latents, behind a VAE's interface: what a CLIP on pixels reads, written as shards."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.configuration_utils import FrozenDict
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import Tensor, nn

NAME = "pixels"  # in the place of a folder or hub id


class Pixels(nn.Module):
    """The identity on pictures in [-1, 1]."""

    place: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.config: Any = FrozenDict(latent_channels=3)
        self.register_buffer("place", torch.empty(0), persistent=False)  # moves with the module, as weights would

    @property
    def dtype(self) -> torch.dtype:
        return self.place.dtype

    @property
    def device(self) -> torch.device:
        return self.place.device

    def encode(self, images: Tensor) -> AutoencoderTinyOutput:
        """The pictures (B, 3, H, W) themselves."""
        return AutoencoderTinyOutput(latents=images)

    def decode(self, latents: Tensor) -> DecoderOutput:
        """The pictures themselves."""
        return DecoderOutput(sample=latents)
