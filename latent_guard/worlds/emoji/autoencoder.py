"""The world's VAE: diffusers' AutoencoderKL, factor 8, eight channels of equal variance."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from latent_guard.devices import best_device
from latent_guard.pipelines import vae as image_vae
from latent_guard.pipelines.vae import to_model_range
from latent_guard.worlds.emoji.loop import LoopSettings, fit
from latent_guard.worlds.emoji.pool import Pool, draw_pool
from latent_guard.worlds.emoji.scenes import FULL, MILD

LATENT_CHANNELS = 8
CROP = 32
BATCH = 32
KL_WEIGHT = 1e-4


def new_autoencoder(channels: int = LATENT_CHANNELS) -> AutoencoderKL:
    """An untrained VAE of the shipped architecture."""
    return AutoencoderKL(
        block_out_channels=(24, 48, 96, 128),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=64,
        scaling_factor=1.0,
    )


def train_autoencoder(
    folder: Path, settings: LoopSettings, *, seed: int, scenes: int, channels: int = LATENT_CHANNELS
) -> AutoencoderKL:
    """Train on crops of rendered scenes, in the last fifth of the steps on whole ones; then equalise the channels."""
    torch.manual_seed(seed)
    device = torch.device(best_device())
    vae = new_autoencoder(channels).to(device, memory_format=torch.channels_last)
    pools = [draw_pool(seed, scenes // 2, variety) for variety in (FULL, MILD)]
    pictures = torch.cat([pool.pictures for pool in pools])
    whole_from = int(settings.steps * 0.8)

    def loss_at(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        if step < whole_from:
            batch = _random_crops(pictures, generator)
        else:
            batch = pictures[torch.randint(len(pictures), (BATCH // 4,), generator=generator)]
        images = to_model_range(batch).to(device, memory_format=torch.channels_last)
        posterior = vae.encode(images).latent_dist
        decoded = vae.decode(posterior.sample()).sample
        error: Tensor = (decoded.float() - images).square().mean()
        kl: Tensor = posterior.kl().mean() / posterior.mean[0].numel()
        return error + KL_WEIGHT * kl

    fit(vae, loss_at, settings, folder)
    equalise_channels(vae, pictures[:2048])
    return vae


def _random_crops(pictures: Tensor, generator: torch.Generator) -> Tensor:
    rows = torch.randint(len(pictures), (BATCH,), generator=generator)
    corners = torch.randint(pictures.shape[-1] - CROP + 1, (BATCH, 2), generator=generator).tolist()
    return torch.stack([pictures[r, :, y : y + CROP, x : x + CROP] for r, (y, x) in zip(rows, corners, strict=True)])


@torch.no_grad()
def equalise_channels(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Fold an affine map into the 1x1 convolutions round the latent, so that each channel has mean 0 and variance 1.

    The VAE's reconstructions do not change; a diffusion model's loss then weighs all channels alike.
    """
    latents = encode(vae, pictures)
    mean = latents.mean((0, 2, 3))
    std = latents.std((0, 2, 3))
    channels = len(mean)
    into = vae.quant_conv
    out = vae.post_quant_conv
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight *= std[None, :, None, None]
    into.weight[:channels] /= std[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / std
    into.bias[channels:] -= 2 * std.log()  # the other half predicts log variances


def encode(vae: AutoencoderKL, pictures: Tensor, batch: int = 64) -> Tensor:
    """Posterior means (N, 8, 8, 8) of uint8 pictures (N, 3, 64, 64), on the CPU."""
    return torch.cat([image_vae.encode(vae, part).cpu() for part in pictures.split(batch)])


def decode(vae: AutoencoderKL, latents: Tensor, batch: int = 64) -> Tensor:
    """Images (N, 3, 64, 64) in [-1, 1] of latents (N, 8, 8, 8), on the CPU."""
    return torch.cat([image_vae.decode(vae, part.to(vae.device)).cpu() for part in latents.split(batch)])


@torch.no_grad()
def reconstruction_psnr(vae: AutoencoderKL, pool: Pool) -> float:
    """Mean peak signal-to-noise ratio of the round trip, dB."""
    images = to_model_range(pool.pictures)
    error = (decode(vae, encode(vae, pool.pictures)).clamp(-1, 1) - images).square().mean((1, 2, 3))
    return float((10 * torch.log10(4 / error)).mean())
