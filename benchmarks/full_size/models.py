"""The models that are measured: published configs, and their miniatures.

Where a class of diffusers has the published config as its defaults, only what is small in the miniature is written
down. Text encoders are left out: a generation starts from random embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from torch import nn

from benchmarks.full_size.sizes import Shape, Sizes
from benchmarks.published import CASES, flux_vae

WORDS = 512  # tokens of a prompt: what these pipelines pad to, or cut at
SDXL, FLUX1 = CASES["SDXL 512 px"], CASES["FLUX.1 1024 px"]
Make = Callable[[bool], Any]  # in miniature or not


@dataclass(frozen=True)
class Model:
    """One published model.

    Attributes:
        name: as people say it.
        billions: parameters of the denoiser, as published.
        denoiser, vae: make the networks.
        pipeline: makes the pipeline of denoiser and VAE.
        inputs: gives a call's embeddings of one prompt, by the denoiser's config.
        repeats: the denoiser's lists of blocks in which one block stands many times, where memory asks for it.
        arguments: of a call, where the published model is called otherwise than by default.
        makes_videos: whether a call makes frames; a guard never pushes these.
    """

    name: str
    billions: float
    denoiser: Make
    vae: Make
    pipeline: Callable[[Any, Any], Any]
    inputs: Callable[[Any], dict[str, Any]]
    repeats: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    makes_videos: bool = False

    def shapes(self, sizes: Sizes) -> tuple[Shape, ...]:
        """What is made."""
        return sizes.videos if self.makes_videos else sizes.pictures


def flux2_dev(miniature: bool) -> nn.Module:
    return Flux2Transformer2DModel(**(_small_flux2(guidance_embeds=True) if miniature else {}))


def flux2_klein(miniature: bool) -> nn.Module:
    sizes = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680}
    return Flux2Transformer2DModel(**(_small_flux2() if miniature else {**sizes, "guidance_embeds": False}))


def _small_flux2(guidance_embeds: bool = False) -> dict[str, Any]:
    sizes = {"num_layers": 2, "num_single_layers": 2, "num_attention_heads": 2, "joint_attention_dim": 32}
    return {**sizes, "attention_head_dim": 16, "axes_dims_rope": (4, 4, 4, 4), "guidance_embeds": guidance_embeds}


def flux2_vae(miniature: bool) -> nn.Module:
    return AutoencoderKLFlux2(**({"block_out_channels": (32,) * 4, "layers_per_block": 1} if miniature else {}))


def qwen_image(miniature: bool) -> nn.Module:
    small = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16, "joint_attention_dim": 32}
    return QwenImageTransformer2DModel(**({**small, "axes_dims_rope": (4, 6, 6)} if miniature else {}))


def qwen_vae(miniature: bool) -> nn.Module:
    return AutoencoderKLQwenImage(**(_small_causal() if miniature else {}))


def z_image(miniature: bool) -> nn.Module:
    small = {"dim": 32, "n_layers": 1, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2, "cap_feat_dim": 32}
    return ZImageTransformer2DModel(**({**small, "axes_dims": [8, 4, 4]} if miniature else {}))


def wan_1_3b(miniature: bool) -> nn.Module:
    sizes = {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}
    return WanTransformer3DModel(**(_small_wan() if miniature else sizes))


def wan_14b(miniature: bool) -> nn.Module:
    return WanTransformer3DModel(**(_small_wan() if miniature else {}))


def _small_wan() -> dict[str, Any]:
    sizes = {"num_layers": 1, "num_attention_heads": 2, "attention_head_dim": 12, "ffn_dim": 32}
    return {**sizes, "text_dim": 32, "freq_dim": 16}


def wan_vae(miniature: bool) -> nn.Module:
    return AutoencoderKLWan(**(_small_causal() if miniature else {}))


def _small_causal() -> dict[str, Any]:
    return {"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}


def _flux2_inputs(config: Any) -> dict[str, Any]:
    return {"prompt_embeds": torch.randn(1, WORDS, config.joint_attention_dim)}


def _klein_inputs(config: Any) -> dict[str, Any]:
    return {f"{sign}prompt_embeds": torch.randn(1, WORDS, config.joint_attention_dim) for sign in ("", "negative_")}


def _qwen_inputs(config: Any) -> dict[str, Any]:
    masks = {f"{sign}prompt_embeds_mask": torch.ones(1, WORDS, dtype=torch.bool) for sign in ("", "negative_")}
    return {**_klein_inputs(config), **masks}


def _z_image_inputs(config: Any) -> dict[str, Any]:
    return {"prompt_embeds": [torch.randn(WORDS, config.cap_feat_dim)]}


def _wan_inputs(config: Any) -> dict[str, Any]:
    return {f"{sign}prompt_embeds": torch.randn(1, WORDS, config.text_dim) for sign in ("", "negative_")}


def _flux2(transformer: Any, vae: Any) -> Flux2Pipeline:
    return Flux2Pipeline(_flow(), vae, None, None, transformer)


def _klein(transformer: Any, vae: Any) -> Flux2KleinPipeline:
    return Flux2KleinPipeline(_flow(), vae, None, None, transformer)


def _qwen(transformer: Any, vae: Any) -> QwenImagePipeline:
    return QwenImagePipeline(_flow(max_shift=0.9, shift_terminal=0.02), vae, None, None, transformer)


def _z_image(transformer: Any, vae: Any) -> ZImagePipeline:
    return ZImagePipeline(FlowMatchEulerDiscreteScheduler(shift=3.0), vae, None, None, transformer)


def _wan(transformer: Any, vae: Any) -> WanPipeline:
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return WanPipeline(None, None, vae, scheduler, transformer)


def _flow(**config: Any) -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, **config)


_FLUX2_BLOCKS = ("transformer_blocks", "single_transformer_blocks")
# The last two are other sizes of what stands above them, for what is left of the time.
MODELS = (
    Model("SDXL", 2.57, SDXL.denoiser, SDXL.vae, SDXL.pipeline, lambda config: SDXL.inputs(config, 1)),
    # Distilled: without guidance, one row a step.
    Model("Z-Image-Turbo", 6.15, z_image, flux_vae, _z_image, _z_image_inputs, arguments={"guidance_scale": 0.0}),
    Model("FLUX.1 dev", 11.9, FLUX1.denoiser, FLUX1.vae, FLUX1.pipeline, lambda config: FLUX1.inputs(config, 1)),
    Model("Qwen-Image", 20.4, qwen_image, qwen_vae, _qwen, _qwen_inputs, ("transformer_blocks",)),
    Model("FLUX.2 dev", 32.2, flux2_dev, flux2_vae, _flux2, _flux2_inputs, _FLUX2_BLOCKS),
    Model("Wan 2.1 1.3B", 1.42, wan_1_3b, wan_vae, _wan, _wan_inputs, makes_videos=True),
    Model("FLUX.2 klein base 4B", 3.88, flux2_klein, flux2_vae, _klein, _klein_inputs),
    Model("Wan 2.1 14B", 14.3, wan_14b, wan_vae, _wan, _wan_inputs, makes_videos=True),
)
