"""Nucleus-Image."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families.qwen_image import CHANNELS, TEXT, flow, qwen_vae
from tests.pipelines.families.tiny import WIDTH, Tiny


def parts() -> dict[str, Any]:
    transformer = diffusers.NucleusMoEImageTransformer2DModel(
        in_channels=4 * CHANNELS,
        out_channels=CHANNELS,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
        mlp_ratio=1.0,
        moe_enabled=False,
    )
    return {"transformer": transformer, "vae": qwen_vae(), "scheduler": flow()}


FAMILIES = [Tiny("NucleusMoEImagePipeline", parts, TEXT)]
