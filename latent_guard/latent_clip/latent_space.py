"""Latent spaces: what one family of VAEs calls a latent, and the map between pipeline latents and raw ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latent_guard.errors import UnsupportedPipelineError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LatentSpace:
    """One VAE family's latents.

    Attributes:
        name: what messages call it.
        channels: latent channels.
        factor: pixels along one side of a latent position.
        scaling_factor, shift_factor: pipeline latents are (raw - shift_factor) * scaling_factor, raw latents are
            what the VAE's encoder gives and its decoder takes (diffusers' ``vae.config``).
    """

    name: str
    channels: int
    factor: int
    scaling_factor: float = 1.0
    shift_factor: float = 0.0

    def to_raw(self, latents: Tensor) -> Tensor:
        """Pipeline latents -> raw latents."""
        return latents / self.scaling_factor + self.shift_factor

    def from_raw(self, raw: Tensor) -> Tensor:
        """Raw latents -> pipeline latents."""
        return (raw - self.shift_factor) * self.scaling_factor

    @classmethod
    def of_vae(cls, vae: Any) -> LatentSpace:
        """The latent space of a diffusers ``AutoencoderKL``, read from its config and named after its class.

        Raises:
            UnsupportedPipelineError: another class of VAE, or one that also normalises by ``latents_mean``.
        """
        kind = type(vae).__name__
        if kind != "AutoencoderKL":
            raise UnsupportedPipelineError(f"the VAE is a {kind}; the guard reads the latents of AutoencoderKL only")
        config = vae.config
        if getattr(config, "latents_mean", None) is not None or getattr(config, "latents_std", None) is not None:
            raise UnsupportedPipelineError("the VAE shifts its latents by latents_mean and latents_std; unsupported")
        return cls(
            name=kind,
            channels=config.latent_channels,
            factor=2 ** (len(config.block_out_channels) - 1),
            scaling_factor=config.scaling_factor,
            shift_factor=config.shift_factor or 0.0,
        )


PIXELS = LatentSpace("pixels", channels=3, factor=1)
