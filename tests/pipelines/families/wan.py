"""Wan, from words, a picture, a video, with VACE, and moving a character."""

from __future__ import annotations

from typing import Any

import diffusers
from transformers import CLIPImageProcessor

from tests.pipelines.families.qwen_image import drawn
from tests.pipelines.families.tiny import (
    TOKENS,
    WIDTH,
    Tiny,
    embeds,
    of_one_prompt,
    pictures,
    tiny_image_encoder,
    videos,
)

PIXELS, FRAMES, CHANNELS = 32, 5, 4
DOWNSAMPLED = [True, True]  # in time, of the VAE's levels
SPATIAL, TEMPORAL = 2 ** len(DOWNSAMPLED), 2 ** sum(DOWNSAMPLED)
SIZES: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "out_channels": CHANNELS,
    "text_dim": WIDTH,
    "freq_dim": 16,
    "ffn_dim": 16,
    "num_layers": 1,
}


def wan_vae(channels: int = CHANNELS) -> Any:
    return diffusers.AutoencoderKLWan(
        base_dim=4,
        z_dim=channels,
        dim_mult=[1] * (len(DOWNSAMPLED) + 1),
        num_res_blocks=0,
        temperal_downsample=DOWNSAMPLED,
        latents_mean=[0.3 * n - 0.5 for n in range(channels)],
        latents_std=[1.5 + 0.25 * n for n in range(channels)],
        scale_factor_spatial=SPATIAL,
        scale_factor_temporal=TEMPORAL,
    )


def parts(reads: int = CHANNELS) -> dict[str, Any]:
    return {
        "transformer": diffusers.WanTransformer3DModel(in_channels=reads, **SIZES),
        "vae": wan_vae(),
        "scheduler": diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    }


def picture_parts() -> dict[str, Any]:
    """It reads a mask of a frame's pictures and the first picture's latents too."""
    return parts(2 * CHANNELS + TEMPORAL)


def vace_parts() -> dict[str, Any]:
    """Its control is the latents of two videos and a mask of each pixel."""
    transformer = diffusers.WanVACETransformer3DModel(
        in_channels=CHANNELS, vace_layers=[0], vace_in_channels=2 * CHANNELS + SPATIAL**2, **SIZES
    )
    return {**parts(), "transformer": transformer}


def animate_parts() -> dict[str, Any]:
    """It makes a video segment by segment, and decodes each."""
    face = 16  # pixels
    transformer = diffusers.WanAnimateTransformer3DModel(
        in_channels=2 * CHANNELS + TEMPORAL,
        latent_channels=CHANNELS,
        image_dim=WIDTH,
        added_kv_proj_dim=24,
        motion_encoder_channel_sizes={str(2**power): 8 for power in range(2, 5)},
        motion_encoder_size=face,
        motion_style_dim=8,
        motion_dim=4,
        motion_encoder_dim=8,
        face_encoder_hidden_dim=8,
        face_encoder_num_heads=2,
        inject_face_latents_blocks=1,
        **SIZES,
    )
    size = {"height": PIXELS, "width": PIXELS}
    return {
        **parts(),
        "transformer": transformer,
        "image_encoder": tiny_image_encoder(PIXELS),
        "image_processor": CLIPImageProcessor(crop_size=size, size=size),
    }


EMBEDS = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
}
SIZE = {"height": PIXELS, "width": PIXELS}
TEXT = {**EMBEDS, **SIZE, "num_frames": FRAMES}
MOVED = {"image": drawn(PIXELS)[0], "pose_video": drawn(PIXELS) * 3, "face_video": drawn(PIXELS) * 3}
FAMILIES = [
    Tiny("WanPipeline", parts, TEXT),
    Tiny("WanImageToVideoPipeline", picture_parts, {**TEXT, "image": pictures(PIXELS)[:1]}),
    Tiny("WanVideoToVideoPipeline", parts, {**EMBEDS, **SIZE, "video": videos(FRAMES, PIXELS), "strength": 1.0}),
    Tiny("WanVACEPipeline", vace_parts, of_one_prompt(TEXT)),  # it makes one video only
    Tiny(
        "WanAnimatePipeline", animate_parts, of_one_prompt({**EMBEDS, **SIZE, **MOVED, "segment_frame_length": FRAMES})
    ),
]
