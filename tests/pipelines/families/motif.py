"""Motif-Video: Wan's VAE, and a denoiser that reads a picture's latents and a mask too."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families import wan
from tests.pipelines.families.qwen_image import drawn
from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, of_one_prompt


def parts() -> dict[str, Any]:
    transformer = diffusers.MotifVideoTransformer3DModel(
        in_channels=2 * wan.CHANNELS + 1,
        out_channels=wan.CHANNELS,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_single_layers=1,
        mlp_ratio=1.0,
        text_embed_dim=WIDTH,
        rope_axes_dim=(4, 6, 6),
    )
    return {
        "transformer": transformer,
        "vae": wan.wan_vae(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "guider": diffusers.ClassifierFreeGuidance(),
    }


TEXT = {
    **wan.TEXT,
    "prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "negative_prompt_attention_mask": torch.ones(BATCH, TOKENS),
}
PICTURE = {"prompt": None, "image": drawn(wan.PIXELS)[0]}
FAMILIES = [
    Tiny("MotifVideoPipeline", parts, TEXT),
    Tiny("MotifVideoImage2VideoPipeline", parts, of_one_prompt({**TEXT, **PICTURE})),
]
