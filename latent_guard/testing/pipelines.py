"""Pipelines of diffusers' own classes with random weights: pictures of 32 pixels, latents of 4 x 8 x 8."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import diffusers
import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

CHANNELS, SIDE, PIXELS, WIDTH = 4, 8, 32, 16
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
DDIM = {"clip_sample": False, "steps_offset": 1, **BETAS}
_NORMS = {"norm_num_groups": 4, "layers_per_block": 1}


def tiny_pipeline(
    kind: str | type = "StableDiffusionPipeline",
    *,
    scheduler: Any = None,
    tokenizer: CLIPTokenizer | None = None,
    pixels: int = PIXELS,
    channels: int = CHANNELS,
    blank: bool = False,
) -> Any:
    """A pipeline that draws noise; torch's global generator is seeded with 0 to make it.

    Args:
        kind: a class of diffusers, or its name, of Stable Diffusion 1.5, SDXL, SD3, FLUX.1, PixArt or LCM. Those of
            SD3, FLUX.1 and PixArt have no text encoder: call them with ``prompt_embeds`` of width 16.
        scheduler: the family's own by default.
        tokenizer: of Stable Diffusion 1.5 and LCM; by default each letter is a token.
        pixels: a side of its pictures, 8 times a power of two; a side of its latents is always 8.
        channels: that the UNet reads, 9 for inpainting.
        blank: the denoiser predicts 0 always.
    """
    cls = getattr(diffusers, kind) if isinstance(kind, str) else kind
    torch.manual_seed(0)
    build = next(build for prefix, build in _FAMILIES.items() if cls.__name__.startswith(prefix))
    parts = build(pixels, channels, tokenizer or letter_tokenizer())
    pipe = cls(**(parts if scheduler is None else {**parts, "scheduler": scheduler}))
    pipe.set_progress_bar_config(disable=True)
    if blank:
        denoiser = pipe.components.get("unet") or pipe.transformer
        last = denoiser.conv_out if hasattr(denoiser, "conv_out") else denoiser.proj_out
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return pipe


def tiny_vae(scaling_factor: float = 0.5, shift_factor: float | None = None, pixels: int = PIXELS) -> Any:
    """A VAE that makes latents of 4 x 8 x 8 of a picture."""
    levels = 1 + int(math.log2(pixels // SIDE))
    return diffusers.AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=CHANNELS,
        sample_size=pixels,
        scaling_factor=scaling_factor,
        shift_factor=shift_factor,
        **_NORMS,
    ).eval()


def letter_tokenizer() -> CLIPTokenizer:
    """A tokenizer of CLIP's kind without merges: each letter is a token, of at most 77."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=[], model_max_length=77)


def _unet(channels: int, **changes: Any) -> Any:
    arguments = {
        "sample_size": SIDE,
        "in_channels": channels,
        "out_channels": CHANNELS,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 4,
    }
    return diffusers.UNet2DConditionModel(**{**arguments, **_NORMS, **changes}).eval()


def _text_encoder(kind: Any, tokenizer: CLIPTokenizer, layers: int = 1) -> Any:
    end = tokenizer.eos_token_id
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end,
        pad_token_id=end,
    )
    return kind(config).eval()


def _sd(pixels: int, channels: int, tokenizer: CLIPTokenizer) -> dict[str, Any]:
    return {
        "vae": tiny_vae(0.5, pixels=pixels),
        "unet": _unet(channels),
        "text_encoder": _text_encoder(CLIPTextModel, tokenizer),
        "tokenizer": tokenizer,
        "scheduler": diffusers.DDIMScheduler(**DDIM),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def _lcm(pixels: int, channels: int, tokenizer: CLIPTokenizer) -> dict[str, Any]:
    parts = _sd(pixels, channels, tokenizer)
    return {**parts, "scheduler": diffusers.LCMScheduler(**DDIM), "unet": _unet(channels, time_cond_proj_dim=8)}


def _sdxl(pixels: int, channels: int, tokenizer: CLIPTokenizer) -> dict[str, Any]:
    time_ids = 8
    return {
        "vae": tiny_vae(0.13025, pixels=pixels),
        "unet": _unet(
            channels,
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=time_ids,
            projection_class_embeddings_input_dim=6 * time_ids + WIDTH,
        ),
        "text_encoder": _text_encoder(CLIPTextModel, tokenizer, layers=2),
        "text_encoder_2": _text_encoder(CLIPTextModelWithProjection, tokenizer, layers=2),
        "tokenizer": tokenizer,
        "tokenizer_2": letter_tokenizer(),
        "scheduler": diffusers.EulerDiscreteScheduler(timestep_spacing="leading", **BETAS),
        "add_watermarker": False,
    }


def _sd3(pixels: int, channels: int, _: CLIPTokenizer) -> dict[str, Any]:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=SIDE,
        patch_size=2,
        in_channels=channels,
        out_channels=CHANNELS,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=WIDTH,
        pos_embed_max_size=16,
    )
    encoders = {f"{part}{end}": None for part in ("text_encoder", "tokenizer") for end in ("", "_2", "_3")}
    return {"vae": tiny_vae(1.5, 0.06, pixels), "transformer": transformer.eval(), "scheduler": _flow(), **encoders}


def _flux(pixels: int, channels: int, _: CLIPTokenizer) -> dict[str, Any]:
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * channels,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
    )
    encoders = {f"{part}{end}": None for part in ("text_encoder", "tokenizer") for end in ("", "_2")}
    return {"vae": tiny_vae(0.36, 0.11, pixels), "transformer": transformer.eval(), "scheduler": _flow(), **encoders}


def _pixart(pixels: int, channels: int, _: CLIPTokenizer) -> dict[str, Any]:
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=SIDE,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_channels=WIDTH,
        in_channels=channels,
        out_channels=2 * CHANNELS,
        cross_attention_dim=16,
    )
    scheduler = diffusers.DPMSolverMultistepScheduler(beta_schedule="linear")
    parts = {"vae": tiny_vae(0.18, pixels=pixels), "transformer": transformer.eval(), "scheduler": scheduler}
    return {**parts, "tokenizer": None, "text_encoder": None}


def _flow() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)


_FAMILIES: dict[str, Callable[[int, int, CLIPTokenizer], dict[str, Any]]] = {
    "StableDiffusion3": _sd3,
    "StableDiffusionXL": _sdxl,
    "StableDiffusion": _sd,
    "LatentConsistency": _lcm,
    "Flux": _flux,
    "PixArt": _pixart,
}
