"""The numbers of the latent spaces of diffusers' VAEs, read from their configs: what ``LatentSpace`` takes, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from latent_guard.errors import UnsupportedPipelineError

Numbers = dict[str, Any]


def numbers_of(vae: Any, epsilon: float | None) -> Numbers:
    """See ``LatentSpace.of_vae``."""
    kind = type(vae).__name__
    if kind not in _READERS:
        raise UnsupportedPipelineError(f"the VAE is a {kind}; known are the latents of {', '.join(_READERS)}")
    if epsilon is not None and kind == "AutoencoderKLFlux2":
        return _of_flux2(vae, epsilon)
    return _READERS[kind](vae)


def _of_kl(vae: Any) -> Numbers:
    config = vae.config
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    by_channel = {"mean": mean, "std": std} if mean is not None and std is not None else {}  # else pipelines skip both
    return {
        "name": "AutoencoderKL",
        "channels": config.latent_channels,
        "factor": 2 ** (len(config.block_out_channels) - 1),
        "scaling_factor": config.scaling_factor,
        "shift_factor": config.shift_factor or 0.0,
        **by_channel,
    }


def _of_flux2(vae: Any, epsilon: float | None = None) -> Numbers:
    # The BatchNorm's statistics, in patches; in the VAE's own precision, as pipelines compute with them.
    variance = vae.bn.running_var.detach().cpu()
    return {
        "name": "AutoencoderKLFlux2",
        "channels": vae.config.latent_channels,
        "factor": 2 ** (len(vae.config.block_out_channels) - 1),
        "patch": vae.config.patch_size[0],
        "mean": vae.bn.running_mean.detach().float().cpu().tolist(),
        "std": (variance + (vae.config.batch_norm_eps if epsilon is None else epsilon)).sqrt().float().tolist(),
    }


def _of_dc(vae: Any) -> Numbers:
    return {
        "name": "AutoencoderDC",
        "channels": vae.config.latent_channels,
        "factor": 2 ** (len(vae.config.encoder_block_out_channels) - 1),
        "scaling_factor": vae.config.scaling_factor,
    }


def _of_wan(vae: Any) -> Numbers:
    config = vae.config
    return _by_channel(vae, config.z_dim, 2 ** len(config.temperal_downsample) * (config.get("patch_size") or 1))


def _by_channel(vae: Any, channels: int, factor: int) -> Numbers:
    """Numbers of a VAE whose config has a mean and a deviation for each channel, and no scaling factor."""
    config = vae.config
    return {
        "name": type(vae).__name__,
        "channels": channels,
        "factor": factor,
        "mean": config.latents_mean,
        "std": config.latents_std,
    }


def _of_hunyuan(vae: Any) -> Numbers:
    return {
        "name": type(vae).__name__,
        "channels": vae.config.latent_channels,
        "factor": vae.config.spatial_compression_ratio,
        "scaling_factor": vae.config.scaling_factor,
    }


def _of_temporal_decoder(vae: Any) -> Numbers:
    config = vae.config
    return {
        "name": type(vae).__name__,
        "channels": config.latent_channels,
        "factor": 2 ** (len(config.block_out_channels) - 1),
        "scaling_factor": config.scaling_factor,
    }


def _of_mochi(vae: Any) -> Numbers:
    config = vae.config
    return {
        "name": type(vae).__name__,
        "channels": config.latent_channels,
        "factor": math.prod(config.spatial_expansions),
        "scaling_factor": config.scaling_factor,
        "mean": config.latents_mean,
        "std": config.latents_std,
    }


def _of_ltx(vae: Any) -> Numbers:
    return {
        "name": type(vae).__name__,
        "channels": vae.config.latent_channels,
        "factor": vae.spatial_compression_ratio,
        "scaling_factor": vae.config.scaling_factor,
        "mean": vae.latents_mean.detach().float().cpu().tolist(),  # weights
        "std": vae.latents_std.detach().float().cpu().tolist(),
    }


def _of_minimax_h3(vae: Any) -> Numbers:
    return _by_channel(vae, vae.config.latent_channels, vae.spatial_compression_ratio)


def _of_cosmos(vae: Any) -> Numbers:
    """Its mean and deviation are others for each frame of a video, so they are no numbers of its space."""
    config = vae.config
    return {
        "name": type(vae).__name__,
        "channels": config.latent_channels,
        "factor": config.spatial_compression_ratio,
    }


def _of_tiny(vae: Any) -> Numbers:
    """Ours: TAEF2 and TAESana, whose latents are normalised already."""
    return {"name": vae.config.name, "channels": vae.config.latent_channels, "factor": vae.config.factor}


def _of_pixels(vae: Any) -> Numbers:
    return {"name": "pixels", "channels": vae.config.latent_channels, "factor": 1}


_READERS: dict[str, Callable[[Any], Numbers]] = {
    "AutoencoderKL": _of_kl,
    "AutoencoderKLFlux2": _of_flux2,
    "AutoencoderDC": _of_dc,
    "AutoencoderKLWan": _of_wan,
    "AutoencoderKLQwenImage": _of_wan,
    "AutoencoderKLQwenImage21": _of_wan,
    "AutoencoderKLHunyuanImage": _of_hunyuan,
    "AutoencoderKLHunyuanVideo": _of_hunyuan,
    "AutoencoderKLHunyuanVideo15": _of_hunyuan,
    "AutoencoderKLTemporalDecoder": _of_temporal_decoder,
    "AutoencoderKLCogVideoX": _of_temporal_decoder,
    "AutoencoderKLMagvit": _of_temporal_decoder,
    "AutoencoderKLMochi": _of_mochi,
    "AutoencoderKLCosmos": _of_cosmos,
    "AutoencoderKLMiniMaxH3": _of_minimax_h3,
    "AutoencoderKLLTXVideo": _of_ltx,
    "AutoencoderKLLTX2Video": _of_ltx,
    "TinyAutoencoder": _of_tiny,
    "Pixels": _of_pixels,
}
