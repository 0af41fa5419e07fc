"""The published architectures with random weights, and their miniatures: what a cost depends on, without downloads.

Shapes and depths are those of the models' public config files; weights only decide what a picture shows. Text encoders
are left out (a generation starts from random embeddings), which makes the guard's share of a generation larger.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as nnf

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.texts import Concept
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig, VisionConfig
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP

FACTOR = 8  # pixels along a side of a latent position
CATEGORIES = ("hate", "harassment", "violence", "self-harm", "sexual", "shocking", "illegal activity")
CONCEPTS, BENIGN = 30, 15  # a category, as in the I2P prompt sets
# CLIP's normalisation of pixels, as open_clip has it.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Case:
    """One model at one size. ``rows`` are the denoiser's rows a step: two with classifier-free guidance."""

    name: str
    pixels: int
    steps: int
    rows: int
    denoiser: Callable[[bool], nn.Module]  # miniature or not
    vae: Callable[[bool], AutoencoderKL]
    pipeline: Callable[[nn.Module, AutoencoderKL], Any]
    inputs: Callable[[Any, int], dict[str, Tensor]]  # the denoiser's config, images -> a call's embeddings
    denoise: Callable[[Any, Tensor], Any]  # one row of the denoiser, for a latent (1, C, h, w)

    def side(self, miniature: bool) -> int:
        """Latent positions along a side."""
        return 16 if miniature else self.pixels // FACTOR


@contextmanager
def made_on(device: str, dtype: torch.dtype) -> Any:
    """Modules are created on a device, in a precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def sdxl_unet(miniature: bool) -> UNet2DConditionModel:
    """SDXL base 1.0 (2.6 G parameters)."""
    sizes: dict[str, Any] = {
        "block_out_channels": (320, 640, 1280),
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "cross_attention_dim": 2048,
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }
    small: dict[str, Any] = {
        "block_out_channels": (32, 32, 32),
        "attention_head_dim": (1, 1, 1),
        "transformer_layers_per_block": (1, 1, 1),
        "cross_attention_dim": 32,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 80,
    }
    return UNet2DConditionModel(
        sample_size=128,
        in_channels=4,
        out_channels=4,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text_time",
        use_linear_projection=True,
        **(small if miniature else sizes),
    )


def flux_transformer(miniature: bool) -> FluxTransformer2DModel:
    """FLUX.1-dev (12 G parameters)."""
    sizes: dict[str, Any] = {"num_layers": 19, "num_single_layers": 38, "joint_attention_dim": 4096}
    small: dict[str, Any] = {
        "num_layers": 1,
        "num_single_layers": 1,
        "joint_attention_dim": 32,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "pooled_projection_dim": 32,
        "axes_dims_rope": (4, 6, 6),
    }
    return FluxTransformer2DModel(in_channels=64, guidance_embeds=True, **(small if miniature else sizes))


def _vae(miniature: bool, channels: int, scaling: float, **config: Any) -> AutoencoderKL:
    return AutoencoderKL(
        latent_channels=channels,
        scaling_factor=scaling,
        block_out_channels=(32,) * 4 if miniature else (128, 256, 512, 512),
        layers_per_block=1 if miniature else 2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=1024,
        **config,
    )


def sdxl_vae(miniature: bool) -> AutoencoderKL:
    return _vae(miniature, 4, 0.13025)


def flux_vae(miniature: bool) -> AutoencoderKL:
    return _vae(miniature, 16, 0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False)


def _sdxl(unet: nn.Module, vae: AutoencoderKL) -> StableDiffusionXLPipeline:
    betas: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = EulerDiscreteScheduler(steps_offset=1, **betas)
    return StableDiffusionXLPipeline(vae, None, None, None, None, unet, scheduler, add_watermarker=False)


def _flux(transformer: nn.Module, vae: AutoencoderKL) -> FluxPipeline:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return FluxPipeline(scheduler, vae, None, None, None, None, transformer)


def _sdxl_inputs(config: Any, images: int) -> dict[str, Tensor]:
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    embeds = {"prompt_embeds": torch.randn(images, 77, config.cross_attention_dim)}
    embeds["pooled_prompt_embeds"] = torch.randn(images, pooled)
    return {**embeds, **{f"negative_{name}": torch.randn_like(value) for name, value in embeds.items()}}


def _flux_inputs(config: Any, images: int) -> dict[str, Tensor]:
    return {
        "prompt_embeds": torch.randn(images, 512, config.joint_attention_dim),
        "pooled_prompt_embeds": torch.randn(images, config.pooled_projection_dim),
    }


def _denoise_sdxl(unet: Any, latent: Tensor) -> Any:
    inputs = {name: value.to(latent) for name, value in _sdxl_inputs(unet.config, 1).items()}
    added = {"text_embeds": inputs["pooled_prompt_embeds"], "time_ids": latent.new_zeros(1, 6)}
    return unet(latent, latent.new_ones(1), inputs["prompt_embeds"], added_cond_kwargs=added)


def _denoise_flux(transformer: Any, latent: Tensor) -> Any:
    inputs = {name: value.to(latent) for name, value in _flux_inputs(transformer.config, 1).items()}
    words, side = inputs["prompt_embeds"], latent.shape[-1]
    packed = FluxPipeline._pack_latents(latent, *latent.shape)
    return transformer(
        packed,
        words,
        inputs["pooled_prompt_embeds"],
        latent.new_ones(1),
        latent.new_zeros((side // 2) ** 2, 3),
        latent.new_zeros(words.shape[1], 3),
        latent.new_ones(1),
    )


CASES = {
    case.name: case
    for case in (
        Case("SDXL 512 px", 512, 30, 2, sdxl_unet, sdxl_vae, _sdxl, _sdxl_inputs, _denoise_sdxl),
        Case("SDXL 1024 px", 1024, 30, 2, sdxl_unet, sdxl_vae, _sdxl, _sdxl_inputs, _denoise_sdxl),
        Case("FLUX.1 1024 px", 1024, 28, 1, flux_transformer, flux_vae, _flux, _flux_inputs, _denoise_flux),
    )
}


def latent_vit(vae: AutoencoderKL, side: int, miniature: bool, patch_size: int = 8) -> LatentCLIP:
    """Latent-ViT-B/8 (arXiv 2503.08455) on latents of a VAE, or with patches of 4 the image tower of B/4-plus.

    The text tower, which no look runs, is a stub.
    """
    tower = {"width": 32, "layers": 1, "heads": 1} if miniature else {"width": 768, "layers": 12, "heads": 12}
    space = LatentSpace.of_vae(vae)
    return LatentCLIP(
        LatentCLIPConfig(
            embed_dim=512,
            vision=VisionConfig(channels=space.channels, size=side, patch_size=patch_size, **tower),
            text=TextConfig(context_length=77, vocab_size=514, width=8, layers=1, heads=1),
            latent_space=space,
            reads_noise_level=False,
        )
    )


def random_bank(model: LatentCLIP, threshold: float) -> ConceptBank:
    """A bank of I2P's size in which every category has this threshold."""
    concepts = tuple(Concept(f"{name} {n}", name) for name in CATEGORIES for n in range(CONCEPTS))
    benign = tuple(f"benign {n}" for n in range(BENIGN * len(CATEGORIES)))
    width = model.config.embed_dim
    return ConceptBank(
        concepts=concepts,
        embeddings=nnf.normalize(torch.randn(len(concepts), width), dim=1),
        benign_prompts=benign,
        benign=nnf.normalize(torch.randn(len(benign), width), dim=1),
        fingerprint=model.fingerprint(),
        logit_scale=100.0,
        noise_levels=torch.zeros(1),
        thresholds=torch.full((len(CATEGORIES), 1), threshold),
    )


# Of open_clip's ViT-B-32, ViT-B-16 and ViT-H-14.
PIXEL_TOWERS: dict[str, dict[str, int]] = {
    "B/32": {"patch_size": 32, "width": 768, "layers": 12, "heads": 12, "output_dim": 512},
    "B/16": {"patch_size": 16, "width": 768, "layers": 12, "heads": 12, "output_dim": 512},
    "H/14": {"patch_size": 14, "width": 1280, "layers": 32, "heads": 16, "output_dim": 1024},
}


class PixelCLIP(nn.Module):
    """The image tower of a CLIP of open_clip, with the resizing that brings a decoded picture to it."""

    mean: Tensor
    std: Tensor

    def __init__(self, miniature: bool, name: str = "B/16") -> None:
        super().__init__()
        tower = {**PIXEL_TOWERS[name], **({"width": 32, "layers": 1, "heads": 1} if miniature else {})}
        self.tower = VisionTransformer(image_size=224, mlp_ratio=4.0, **tower)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])

    def forward(self, decoded: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> unit embeddings (B, 512)."""
        small = nnf.interpolate(decoded.float() / 2 + 0.5, size=(224, 224), mode="bicubic", antialias=True)
        return nnf.normalize(self.tower((small.to(decoded) - self.mean) / self.std), dim=-1)
