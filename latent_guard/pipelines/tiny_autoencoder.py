"""Tiny autoencoders that diffusers' ``AutoencoderTiny`` has no room for: TAEF2 of FLUX.2's latents, TAESana of Sana's.

Their weights are files of madebyollin's taesd: ``taef2_encoder.safetensors`` and ``taesana_encoder.safetensors``, with
a decoder of the same name beside it for those who decode. They give latents as a denoiser sees them, of about unit
variance; FLUX.2's before they are cut into patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import FrozenDict
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import relu

from latent_guard.errors import CheckpointError, InputError, reason_of
from latent_guard.files.plain import require_plain

WIDTH = 64
POOL_WIDTH, POOL_GROUPS = 256, 4
LATENT_CHANNELS = 32
LEVELS, BLOCKS = 3, 3  # strided convolutions, and the residual blocks after each
LARGEST_LATENT = 3.0  # a decoder squashes what it is given to between minus and plus this
_ENCODER, _DECODER = "_encoder.safetensors", "_decoder.safetensors"


class ResidualBlock(nn.Module):
    """Three convolutions beside the identity; ``pooled`` first adds what group statistics of the whole picture say."""

    def __init__(self, pooled: bool = False) -> None:
        super().__init__()
        layers = [_convolution(), nn.ReLU(), _convolution(), nn.ReLU(), _convolution()]
        self.conv = nn.Sequential(*layers)
        self.pool: nn.Sequential | None = None
        if pooled:
            wide, narrow = nn.Conv2d(WIDTH, POOL_WIDTH, 1, bias=False), nn.Conv2d(POOL_WIDTH, WIDTH, 1, bias=False)
            self.pool = nn.Sequential(wide, nn.GroupNorm(POOL_GROUPS, POOL_WIDTH), nn.ReLU(), narrow)

    def forward(self, features: Tensor) -> Tensor:
        if self.pool is not None:
            features = features + self.pool(features)
        return relu(features + self.conv(features))


class Squash(nn.Module):
    """Keeps latents within the range that the decoder was trained on."""

    def forward(self, latents: Tensor) -> Tensor:
        return LARGEST_LATENT * torch.tanh(latents / LARGEST_LATENT)


def flux2_encoder() -> nn.Sequential:
    """Eight pixels to a position."""
    return nn.Sequential(_convolution(3), ResidualBlock(), *_levels_down(pooled=True), _convolution(to=LATENT_CHANNELS))


def flux2_decoder() -> nn.Sequential:
    """The way back."""
    first = [Squash(), _convolution(LATENT_CHANNELS), nn.ReLU()]
    return nn.Sequential(*first, *_levels_up(pooled=True), ResidualBlock(), _convolution(to=3))


def sana_encoder() -> nn.Sequential:
    """Thirty-two pixels to a position."""
    half = WIDTH // 2
    stem = [_convolution(3, half, stride=2), nn.ReLU(), _convolution(half, stride=2), nn.ReLU(), ResidualBlock()]
    return nn.Sequential(*stem, *_levels_down(pooled=False), _convolution(to=LATENT_CHANNELS))


@dataclass(frozen=True)
class Kind:
    """One of these autoencoders: its name, the pixels along one side of a latent position, and its two halves."""

    name: str
    factor: int
    encoder: Callable[[], nn.Sequential]
    decoder: Callable[[], nn.Sequential] | None = None


KINDS = {"taef2": Kind("TAEF2", 8, flux2_encoder, flux2_decoder), "taesana": Kind("TAESana", 32, sana_encoder)}


class TinyAutoencoder(nn.Module):
    """An autoencoder behind the interface of diffusers' own: pictures in [-1, 1], ``encode(...).latents``."""

    def __init__(self, kind: Kind, *, with_decoder: bool = True) -> None:
        super().__init__()
        self.config: Any = FrozenDict(
            name=kind.name, latent_channels=LATENT_CHANNELS, factor=kind.factor, encoder_block_out_channels=(WIDTH,)
        )
        self.encoder = kind.encoder()
        self.decoder = kind.decoder() if kind.decoder is not None and with_decoder else None

    @property
    def dtype(self) -> torch.dtype:
        return self.encoder[-1].weight.dtype  # type: ignore[return-value]

    @property
    def device(self) -> torch.device:
        return self.encoder[-1].weight.device  # type: ignore[return-value]

    def encode(self, images: Tensor) -> AutoencoderTinyOutput:
        """Latents (B, 32, H / factor, W / factor) of pictures (B, 3, H, W)."""
        return AutoencoderTinyOutput(latents=self.encoder((images + 1) / 2))

    def decode(self, latents: Tensor) -> DecoderOutput:
        """Pictures (B, 3, H, W), about [-1, 1], of latents.

        Raises:
            InputError: no decoder was loaded.
        """
        if self.decoder is None:
            raise InputError(f"{self.config.name} has no decoder here; put its {_DECODER[1:]} beside the encoder")
        return DecoderOutput(sample=2 * self.decoder(latents) - 1)


def is_tiny_file(path: Path) -> bool:
    """Whether a path is that of an encoder of a known name."""
    return path.name.removesuffix(_ENCODER) in KINDS and path.is_file()


def load_tiny(path: Path) -> TinyAutoencoder:
    """The autoencoder of an encoder's file, in single precision; with its decoder where that lies beside it.

    Raises:
        CheckpointError: a file is damaged, or holds other weights.
    """
    stem = path.name.removesuffix(_ENCODER)
    decoder = path.with_name(stem + _DECODER)
    tiny = TinyAutoencoder(KINDS[stem], with_decoder=decoder.exists())
    for part, file in ((tiny.encoder, path), (tiny.decoder, decoder)):
        if part is None:
            continue
        try:
            require_plain(file)
            part.load_state_dict(load_file(file))
        except (OSError, InputError, SafetensorError, RuntimeError) as error:
            raise CheckpointError(f"{file} cannot be read as {tiny.config.name} ({reason_of(error)})") from error
    return tiny.eval()


def _convolution(of: int = WIDTH, to: int = WIDTH, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(of, to, 3, stride, padding=1, bias=bias)


def _levels_down(pooled: bool) -> Iterator[nn.Module]:
    for level in range(LEVELS):
        yield _convolution(stride=2, bias=False)
        yield from (ResidualBlock(pooled and level == LEVELS - 1) for _ in range(BLOCKS))


def _levels_up(pooled: bool) -> Iterator[nn.Module]:
    for level in range(LEVELS):
        yield from (ResidualBlock(pooled and level == 0) for _ in range(BLOCKS))
        yield nn.Upsample(scale_factor=2)
        yield _convolution(bias=False)
