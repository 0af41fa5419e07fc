"""EasyAnimate, from words, and filling in what is masked."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, videos

PIXELS, FRAMES, CHANNELS, LEVELS = 32, 5, 4, 3


def parts(reads: int = CHANNELS, **changes: Any) -> dict[str, Any]:
    transformer = diffusers.EasyAnimateTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=reads,
        out_channels=CHANNELS,
        patch_size=2,
        num_layers=1,
        mmdit_layers=1,
        time_embed_dim=8,
        text_embed_dim=WIDTH,
        **changes,
    )
    vae = diffusers.AutoencoderKLMagvit(
        latent_channels=CHANNELS,
        block_out_channels=(8,) * LEVELS,
        down_block_types=("SpatialDownBlock3D", "SpatialTemporalDownBlock3D", "SpatialTemporalDownBlock3D"),
        up_block_types=("SpatialUpBlock3D", "SpatialTemporalUpBlock3D", "SpatialTemporalUpBlock3D"),
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=0.7,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    return {"transformer": transformer, "vae": vae, "scheduler": scheduler}


def filling_parts() -> dict[str, Any]:
    """It reads the latents of a mask and of what stays."""
    return parts(3 * CHANNELS, resize_inpaint_mask_directly=False)


def narrow_filling_parts() -> dict[str, Any]:
    """Its mask is one channel."""
    return parts(2 * CHANNELS + 1)


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "height": PIXELS,
    "width": PIXELS,
    "num_frames": FRAMES,
}
SEEN = videos(FRAMES, PIXELS).transpose(1, 2)
MASK = torch.zeros_like(SEEN[:, :1])
MASK[..., PIXELS // 2 :] = 255.0
MASKED = {"video": SEEN, "mask_video": MASK, "generator": None}  # it takes no list of generators
FAMILIES = [
    Tiny("EasyAnimatePipeline", parts, TEXT),
    Tiny("EasyAnimateInpaintPipeline", filling_parts, {**TEXT, **MASKED}),
    Tiny("EasyAnimateInpaintPipeline-9", narrow_filling_parts, TEXT),
]
