"""Mochi."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds

PIXELS, FRAMES, CHANNELS = 32, 7, 12  # channels, and factors of 8, and 6 in time, are those of its code


def mochi_vae() -> Any:
    return diffusers.AutoencoderKLMochi(
        encoder_block_out_channels=(32,) * 4,
        decoder_block_out_channels=(32,) * 4,
        latent_channels=CHANNELS,
        layers_per_block=(1,) * 5,
        latents_mean=[0.1 * n - 0.5 for n in range(CHANNELS)],
        latents_std=[1.5 + 0.25 * n for n in range(CHANNELS)],
        scaling_factor=0.7,
    )


def parts() -> dict[str, Any]:
    transformer = diffusers.MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=CHANNELS,
        text_embed_dim=WIDTH,
        time_embed_dim=16,
        max_sequence_length=TOKENS,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    return {"transformer": transformer, "vae": mochi_vae(), "scheduler": scheduler}


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_attention_mask": torch.ones(BATCH, TOKENS, dtype=torch.bool),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_attention_mask": torch.ones(BATCH, TOKENS, dtype=torch.bool),
    "height": PIXELS,
    "width": PIXELS,
    "num_frames": FRAMES,
}
FAMILIES = [Tiny("MochiPipeline", parts, TEXT)]
