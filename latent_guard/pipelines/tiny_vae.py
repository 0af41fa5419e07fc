"""Tiny autoencoders (TAESD, TAEF1, ...), which people put in the place of a VAE: ``pipe.vae = AutoencoderTiny...``.

They read and write the latents that a denoiser works with, at scale 1, so that their config says nothing of the space.
"""

from __future__ import annotations

from typing import Any

from latent_guard.latent_clip.latent_space import LatentSpace


def is_tiny(vae: Any) -> bool:
    """True for diffusers' tiny autoencoder."""
    return type(vae).__name__ == "AutoencoderTiny"


def tiny_space(vae: Any) -> LatentSpace:
    """The space of what a tiny autoencoder encodes to and decodes."""
    config = vae.config
    return LatentSpace(
        name=type(vae).__name__,
        channels=config.latent_channels,
        factor=2 ** (len(config.encoder_block_out_channels) - 1),
        scaling_factor=config.scaling_factor,
        shift_factor=config.shift_factor,
    )
