"""CogView4."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds, kl, pictures

PIXELS, CHANNELS = 64, 16


def parts(reads: int = CHANNELS) -> dict[str, Any]:
    transformer = diffusers.CogView4Transformer2DModel(
        in_channels=reads,
        out_channels=CHANNELS,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        text_embed_dim=WIDTH,
        time_embed_dim=16,
        condition_dim=8,
        sample_size=8,
        rope_axes_dim=(8, 8),
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, time_shift_type="linear"
    )
    return {"transformer": transformer, "vae": kl(CHANNELS, levels=4), "scheduler": scheduler}


def controlled_parts() -> dict[str, Any]:
    return parts(2 * CHANNELS)


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "height": PIXELS,
    "width": PIXELS,
}
FAMILIES = [
    Tiny("CogView4Pipeline", parts, TEXT),
    # It draws the latents of the control image from torch's global generator.
    Tiny("CogView4ControlPipeline", controlled_parts, {**TEXT, "control_image": 2 * pictures(PIXELS) - 1}),
]
