"""A map from another VAE's raw latents to those that a Latent-CLIP reads, in front of its image tower.

Two VAEs cut an image into the same positions, or one of them into k x k positions for each of the other's. So the map
is local: it works on the coarser grid, where the finer latents are k x k as many channels (pixel unshuffle).

Shapes: B images, C and C' channels, H and W positions of the latents read, H' and W' of those given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from latent_guard.bounds import require_whole
from latent_guard.errors import InputError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.positions import whole_patches

MAX_WIDTH = 4_096


@dataclass(frozen=True)
class AdapterConfig:
    """The shape of a ``LatentAdapter``.

    Attributes:
        reads, gives: the latent spaces at both ends.
        width: channels of the convolutions; 0 means that the map is linear.
    """

    reads: LatentSpace
    gives: LatentSpace
    width: int = 0

    def __post_init__(self) -> None:
        require_whole("adapter: width", self.width, 0, MAX_WIDTH)
        small, large = sorted((self.reads.factor, self.gives.factor))
        if large % small:
            raise InputError(
                f"no adapter from {self.reads} to {self.gives}: neither of the factors is a multiple of the other"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dicts, as JSON takes them."""
        return {"reads": self.reads.to_dict(), "gives": self.gives.to_dict(), "width": self.width}

    @property
    def downscale(self) -> int:
        """Positions of ``reads`` along one side of a position of ``gives``; at least 1."""
        return max(1, self.gives.factor // self.reads.factor)

    @property
    def upscale(self) -> int:
        """Positions of ``gives`` along one side of a position of ``reads``; at least 1."""
        return max(1, self.reads.factor // self.gives.factor)


class LatentAdapter(nn.Module):
    """A linear map of each position and, where the config gives a width, a residual of three convolutions.

    The convolutions repeat the edge as padding, so that per-channel scales and shifts can be folded into
    their weights exactly.
    """

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        channels_in = config.reads.channels * config.downscale**2
        channels_out = config.gives.channels * config.upscale**2
        self.linear = nn.Conv2d(channels_in, channels_out, 1)
        self.residual: nn.Sequential | None = None
        if config.width:
            self.residual = nn.Sequential(
                _convolution(channels_in, config.width),
                nn.GELU(),
                _convolution(config.width, config.width),
                nn.GELU(),
                _convolution(config.width, channels_out),
            )
            for weight in self.residual[-1].parameters():
                nn.init.zeros_(weight)  # untrained, the adapter is the linear map

    def forward(self, latents: Tensor) -> Tensor:
        """Raw latents (B, C', H', W') for raw latents (B, C, H, W), of any size; differentiable."""
        return self.to_fine(self.mapped(self.to_coarse(latents)))

    def to_coarse(self, latents: Tensor) -> Tensor:
        """The latents read, on the coarser of both grids."""
        return pixel_unshuffle(whole_patches(latents, self.config.downscale), self.config.downscale)

    def to_fine(self, mapped: Tensor) -> Tensor:
        """The latents given, from the coarser of both grids."""
        return pixel_shuffle(mapped, self.config.upscale)

    def mapped(self, coarse: Tensor) -> Tensor:
        """The map itself, on the coarser of both grids."""
        linear: Tensor = self.linear(coarse)
        return linear if self.residual is None else linear + self.residual(coarse)


def _convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, padding_mode="replicate")
