"""HunyuanImage 2.1."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds

PIXELS, CHANNELS = 32, 4


def parts() -> dict[str, Any]:
    transformer = diffusers.HunyuanImageTransformer2DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        mlp_ratio=1.0,
        text_embed_dim=WIDTH,
        rope_axes_dim=(8, 8),
    )
    vae = diffusers.AutoencoderKLHunyuanImage(
        in_channels=3,
        out_channels=3,
        latent_channels=CHANNELS,
        block_out_channels=(32, 32, 32),
        layers_per_block=1,
        spatial_compression_ratio=4,
        sample_size=PIXELS,
        scaling_factor=0.7,
    )
    return {"transformer": transformer, "vae": vae, "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0)}


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_embeds_mask": torch.ones(BATCH, TOKENS),
    "prompt_embeds_2": torch.zeros(BATCH, TOKENS, WIDTH),  # of the words to be written, of which there are none
    "prompt_embeds_mask_2": torch.zeros(BATCH, TOKENS),
    "height": PIXELS,
    "width": PIXELS,
}
FAMILIES = [Tiny("HunyuanImagePipeline", parts, TEXT)]
