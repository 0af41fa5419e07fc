"""Stable Diffusion 3, with ControlNet and PAG."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from tests.pipelines.families.stable_diffusion import CONTROL, MASKED, REDRAWN
from tests.pipelines.families.stable_diffusion_xl import POOLED
from tests.pipelines.families.tiny import WIDTH, Tiny, kl, masks

CHANNELS, SIDE, PIXELS = 16, 8, 32
FILLS = 2 * CHANNELS + 1


def _shape(reads: int) -> dict[str, Any]:
    return {
        "sample_size": SIDE,
        "patch_size": 2,
        "in_channels": reads,
        "out_channels": CHANNELS,
        "num_layers": 1,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "joint_attention_dim": WIDTH,
        "caption_projection_dim": 16,
        "pooled_projection_dim": WIDTH,
        "pos_embed_max_size": 16,
    }


def parts(reads: int = CHANNELS, more: int = 0) -> dict[str, Any]:
    """The parts, with a ControlNet that reads ``more`` channels than those of latents."""
    return {
        "transformer": diffusers.SD3Transformer2DModel(**_shape(reads)),
        "controlnet": diffusers.SD3ControlNetModel(**_shape(CHANNELS), extra_conditioning_channels=more),
        "vae": kl(CHANNELS),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        "pag_applied_layers": ["blocks.0"],
    }


filling_parts = partial(parts, FILLS)
masked_control_parts = partial(parts, more=1)

SIZE = {"height": PIXELS, "width": PIXELS}
TEXT = {**POOLED, **SIZE}
FAMILIES = [
    Tiny("StableDiffusion3Pipeline", parts, TEXT),
    Tiny("StableDiffusion3Img2ImgPipeline", parts, {**TEXT, **REDRAWN}),
    Tiny("StableDiffusion3InpaintPipeline", parts, {**TEXT, **MASKED}),
    Tiny("StableDiffusion3InpaintPipeline-33", filling_parts, {**TEXT, **MASKED}),
    Tiny("StableDiffusion3ControlNetPipeline", parts, {**TEXT, **CONTROL}),
    Tiny(
        "StableDiffusion3ControlNetInpaintingPipeline",
        masked_control_parts,
        {**TEXT, **CONTROL, "control_mask": masks(PIXELS)},
    ),
    Tiny("StableDiffusion3PAGPipeline", parts, TEXT),
    Tiny("StableDiffusion3PAGImg2ImgPipeline", parts, {**TEXT, **REDRAWN}),
]
