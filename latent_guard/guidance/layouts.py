"""How a pipeline lays out its latents inside `scheduler.step`, and the way to (B, C, H, W) and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from latent_guard.errors import UnsupportedPipelineError

PLAIN_PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")


@dataclass(frozen=True)
class PlainLayout:
    """Latents that already are (B, C, H, W)."""

    channels: int

    def unpack(self, latents: Tensor) -> Tensor:
        """The latents as (B, C, H, W); `UnsupportedPipelineError` for any other shape."""
        if latents.ndim != 4 or latents.shape[1] != self.channels:
            raise UnsupportedPipelineError(
                f"expected latents of shape (B, {self.channels}, H, W), got {tuple(latents.shape)}"
            )
        return latents

    def pack(self, latents: Tensor) -> Tensor:
        """The inverse of `unpack`."""
        return latents


def layout_of(pipe: Any, channels: int) -> PlainLayout:
    """The layout of a pipeline whose latents have `channels` channels; unknown pipelines are refused by name."""
    name = type(pipe).__name__
    if name not in PLAIN_PIPELINES:
        raise UnsupportedPipelineError(
            f"the guard does not know the latent layout of {name}; it knows {', '.join(PLAIN_PIPELINES)}"
        )
    denoised = pipe.unet.config.in_channels
    if denoised != channels:
        raise UnsupportedPipelineError(
            f"the UNet of this {name} reads {denoised} channels, but the latents have {channels}: "
            "inpainting and other conditioned UNets are not supported"
        )
    return PlainLayout(channels)
