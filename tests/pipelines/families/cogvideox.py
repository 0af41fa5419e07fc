"""CogVideoX, from words, a picture, a video, and under control; and ConsisID, which keeps a face."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds, pictures, videos

PIXELS, FRAMES, CHANNELS = 32, 5, 4
LEVELS, TEMPORAL = 3, 4
SIDE = PIXELS // 2 ** (LEVELS - 1)


SIZES: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "out_channels": CHANNELS,
    "time_embed_dim": 8,
    "text_embed_dim": WIDTH,
    "num_layers": 1,
    "sample_width": SIDE,
    "sample_height": SIDE,
    "sample_frames": FRAMES,
    "max_text_seq_length": TOKENS,
}


def parts(reads: int = CHANNELS, **changes: Any) -> dict[str, Any]:
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
    transformer = diffusers.CogVideoXTransformer3DModel(in_channels=reads, **SIZES, **changes)
    return {"transformer": transformer, "vae": vae, "scheduler": scheduler}


def dpm_parts(reads: int = CHANNELS) -> dict[str, Any]:
    scheduler = diffusers.CogVideoXDPMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    return {**parts(reads), "scheduler": scheduler}


def padded_parts() -> dict[str, Any]:
    """CogVideoX 1.5 adds a latent frame where there is an odd number of them, and does not decode it."""
    return parts(patch_size_t=2, patch_bias=False, use_rotary_positional_embeddings=True)


def conditioned_parts() -> dict[str, Any]:
    """It reads the latents of a picture, or of a video, too."""
    return parts(2 * CHANNELS)


def face_parts() -> dict[str, Any]:
    transformer = diffusers.ConsisIDTransformer3DModel(in_channels=2 * CHANNELS, **SIZES)
    return {**dpm_parts(), "transformer": transformer}


SIZE = {"height": PIXELS, "width": PIXELS}
EMBEDS = {"prompt_embeds": embeds(TOKENS, WIDTH), "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1)}
TEXT = {**EMBEDS, **SIZE, "num_frames": FRAMES}
PICTURE = {"image": pictures(PIXELS)}
FAMILIES = [
    Tiny("CogVideoXPipeline", parts, TEXT),
    Tiny("CogVideoXPipeline-dpm", dpm_parts, TEXT),
    Tiny("CogVideoXPipeline-padded", padded_parts, {**TEXT, "num_frames": 2 * TEMPORAL + 1}),
    Tiny("CogVideoXImageToVideoPipeline", conditioned_parts, {**TEXT, **PICTURE}),
    Tiny(
        "CogVideoXVideoToVideoPipeline",
        parts,
        {**EMBEDS, **SIZE, "video": videos(FRAMES, PIXELS), "strength": 1.0},
    ),
    Tiny(
        "CogVideoXFunControlPipeline",
        conditioned_parts,
        {**EMBEDS, **SIZE, "control_video": videos(FRAMES, PIXELS)},
    ),
    Tiny("ConsisIDPipeline", face_parts, {**TEXT, **PICTURE}),
]
