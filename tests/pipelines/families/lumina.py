"""Lumina-Next and Lumina 2."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, kl

PIXELS = 64


def next_parts() -> dict[str, Any]:
    transformer = diffusers.LuminaNextDiT2DModel(
        sample_size=8,
        in_channels=4,
        hidden_size=32,
        num_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=16,
        cross_attention_dim=WIDTH,
    )
    return {
        "transformer": transformer,
        "vae": kl(4, levels=4),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
    }


def parts() -> dict[str, Any]:
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=8,
        in_channels=16,
        hidden_size=32,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=16,
        axes_dim_rope=(8, 4, 4),
        axes_lens=(64, 32, 32),
        cap_feat_dim=WIDTH,
    )
    return {
        "transformer": transformer,
        "vae": kl(16, levels=4),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    }


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_attention_mask": torch.ones(BATCH, TOKENS, dtype=torch.bool),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_attention_mask": torch.ones(BATCH, TOKENS, dtype=torch.bool),
    "height": PIXELS,
    "width": PIXELS,
}
FAMILIES = [Tiny("LuminaPipeline", next_parts, TEXT), Tiny("Lumina2Pipeline", parts, TEXT)]
