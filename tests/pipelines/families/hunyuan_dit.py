"""HunyuanDiT, with PAG and ControlNet."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, kl, pictures

PIXELS, CHANNELS, LAYERS = 64, 4, 2
SIZES: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "hidden_size": 16,
    "in_channels": CHANNELS,
    "patch_size": 2,
    "sample_size": 8,
    "mlp_ratio": 1.0,
    "cross_attention_dim": WIDTH,
    "cross_attention_dim_t5": WIDTH,
    "pooled_projection_dim": WIDTH,
    "text_len": TOKENS,
    "text_len_t5": TOKENS,
}


def parts() -> dict[str, Any]:
    return {
        "transformer": diffusers.HunyuanDiT2DModel(num_layers=LAYERS, **SIZES),
        "vae": kl(CHANNELS, levels=4),  # its code takes a factor of 8 for granted
        "scheduler": diffusers.DDPMScheduler(prediction_type="v_prediction", steps_offset=1, clip_sample=False),
        "requires_safety_checker": False,
        "pag_applied_layers": "blocks.0",
    }


def controlled_parts() -> dict[str, Any]:
    layers = 4  # of which the ControlNet has half, less one
    return {
        **parts(),
        "transformer": diffusers.HunyuanDiT2DModel(num_layers=layers, **SIZES),
        "controlnet": diffusers.HunyuanDiT2DControlNetModel(transformer_num_layers=layers, **SIZES),
    }


TEXT: dict[str, Any] = {
    f"{side}{name}{part}": value
    for side, seed in {"": 0, "negative_": 1}.items()
    for part in ("", "_2")
    for name, value in {
        "prompt_embeds": embeds(TOKENS, WIDTH, seed=seed),
        "prompt_attention_mask": torch.ones(BATCH, TOKENS),
    }.items()
}
TEXT |= {"height": PIXELS, "width": PIXELS, "use_resolution_binning": False}
FAMILIES = [
    Tiny("HunyuanDiTPipeline", parts, TEXT),
    Tiny("HunyuanDiTPAGPipeline", parts, TEXT),
    Tiny("HunyuanDiTControlNetPipeline", controlled_parts, {**TEXT, "control_image": pictures(PIXELS)}),
]
