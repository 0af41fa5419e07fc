"""CogVideoX."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds

PIXELS, FRAMES, CHANNELS = 32, 5, 4
LEVELS, TEMPORAL = 3, 4
SIDE = PIXELS // 2 ** (LEVELS - 1)


def parts() -> dict[str, Any]:
    transformer = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        time_embed_dim=8,
        text_embed_dim=WIDTH,
        num_layers=1,
        sample_width=SIDE,
        sample_height=SIDE,
        sample_frames=FRAMES,
        max_text_seq_length=TOKENS,
    )
    vae = diffusers.AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * LEVELS,
        up_block_types=("CogVideoXUpBlock3D",) * LEVELS,
        block_out_channels=(8,) * LEVELS,
        latent_channels=CHANNELS,
        layers_per_block=1,
        norm_num_groups=4,
        temporal_compression_ratio=TEMPORAL,
        scaling_factor=0.7,
    )
    scheduler = diffusers.CogVideoXDDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    return {"transformer": transformer, "vae": vae, "scheduler": scheduler}


def dpm_parts() -> dict[str, Any]:
    scheduler = diffusers.CogVideoXDPMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    return {**parts(), "scheduler": scheduler}


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "height": PIXELS,
    "width": PIXELS,
    "num_frames": FRAMES,
}
DECODED = [
    Tiny("CogVideoXPipeline", parts, TEXT),
    Tiny("CogVideoXPipeline-dpm", dpm_parts, TEXT),
]
