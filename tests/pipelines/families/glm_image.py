"""GLM-Image, without the language model that writes the tokens which a picture is drawn from."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, kl

PIXELS, CHANNELS, CODES = 64, 16, 32


def parts() -> dict[str, Any]:
    transformer = diffusers.GlmImageTransformer2DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        text_embed_dim=WIDTH,
        time_embed_dim=16,
        condition_dim=8,
        prior_vq_quantizer_codebook_size=CODES,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, time_shift_type="linear"
    )
    return {"transformer": transformer, "vae": kl(CHANNELS, levels=4), "scheduler": scheduler}


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "prior_token_ids": torch.arange(BATCH * 16).reshape(BATCH, 16) % CODES,
    "height": PIXELS,
    "width": PIXELS,
}
FAMILIES = [Tiny("GlmImagePipeline", parts, TEXT)]
