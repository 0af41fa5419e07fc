"""AuraFlow."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, kl

PIXELS = 32


def parts() -> dict[str, Any]:
    transformer = diffusers.AuraFlowTransformer2DModel(
        sample_size=8,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=32,
        pos_embed_max_size=64,
    )
    return {
        "transformer": transformer,
        "vae": kl(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=1.73),
    }


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "height": PIXELS,
    "width": PIXELS,
}
FAMILIES = [Tiny("AuraFlowPipeline", parts, TEXT)]
