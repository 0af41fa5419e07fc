"""The authors' model config, which is open_clip's JSON with three additions about latents, as one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.files.documents import read_json
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig, VisionConfig
from latent_guard.latent_clip.latent_space import PUBLISHED

_SPACES = dict.fromkeys(("madebyollin/sdxl-vae-fp16-fix", "stabilityai/sdxl-vae"), PUBLISHED["SDXL"])


@dataclass(frozen=True)
class _Model:
    embed_dim: int
    vision_cfg: Mapping[str, Any]
    text_cfg: Mapping[str, Any]
    quick_gelu: bool = False


@dataclass(frozen=True)
class _Vision:
    """``image_size`` counts pixels, ``patch_size`` latent positions."""

    image_size: int
    layers: int
    width: int
    patch_size: int
    latent_encoder_name: str
    latent_factor: int
    latent_n_channels: int
    head_width: int = 64


def read_official_config(path: Path) -> LatentCLIPConfig:
    """The shape that a JSON file of the authors describes.

    Raises:
        InputError: missing, not JSON, or with a key, a VAE or an activation that a published Latent-CLIP has not.
    """
    data = read_json(path, "the config")
    try:
        return _converted(build(_Model, data, "config"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _converted(model: _Model) -> LatentCLIPConfig:
    vision = build(_Vision, model.vision_cfg, "vision_cfg")
    if vision.latent_encoder_name not in _SPACES:
        raise InputError(
            f"vision_cfg: latent_encoder_name is {vision.latent_encoder_name!r}, whose latent space is not known here "
            f"(known: {', '.join(_SPACES)}); in Python, give a LatentCLIPConfig with its LatentSpace"
        )
    if vision.latent_factor < 1 or vision.image_size % vision.latent_factor:
        raise InputError(f"vision_cfg: image_size {vision.image_size} is not a multiple of {vision.latent_factor}")
    if vision.head_width < 1 or vision.width % vision.head_width:
        raise InputError(f"vision_cfg: width {vision.width} is not a multiple of head_width {vision.head_width}")
    return LatentCLIPConfig(
        embed_dim=model.embed_dim,
        vision=VisionConfig(
            channels=vision.latent_n_channels,
            size=vision.image_size // vision.latent_factor,
            patch_size=vision.patch_size,
            width=vision.width,
            layers=vision.layers,
            heads=vision.width // vision.head_width,
        ),
        text=build(TextConfig, model.text_cfg, "text_cfg"),
        latent_space=_SPACES[vision.latent_encoder_name],
        reads_noise_level=False,
        quick_gelu=model.quick_gelu,
    )
