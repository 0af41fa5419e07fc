"""Stable Video Diffusion, which moves a picture."""

from __future__ import annotations

from typing import Any

import diffusers
from transformers import CLIPImageProcessor

from latent_guard.testing.pipelines import CHANNELS
from tests.pipelines.families.tiny import WIDTH, Tiny, pictures, tiny_image_encoder

PIXELS, FRAMES, LEVELS, TIME_IDS = 32, 3, 3, 8


def temporal_vae() -> Any:
    """Its encoder is Stable Diffusion's; its decoder sees several frames at once."""
    return diffusers.AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * LEVELS,
        block_out_channels=(32,) * LEVELS,
        latent_channels=CHANNELS,
        sample_size=PIXELS,
        scaling_factor=0.7,
    )


def parts() -> dict[str, Any]:
    unet = diffusers.UNetSpatioTemporalConditionModel(
        sample_size=8,
        in_channels=2 * CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(32, 32),
        down_block_types=("DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"),
        up_block_types=("CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"),
        addition_time_embed_dim=TIME_IDS,
        projection_class_embeddings_input_dim=3 * TIME_IDS,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        num_attention_heads=2,
        num_frames=FRAMES,
    )
    scheduler = diffusers.EulerDiscreteScheduler(
        prediction_type="v_prediction",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
        timestep_spacing="leading",
        timestep_type="continuous",
        interpolation_type="linear",
    )
    return {
        "unet": unet,
        "vae": temporal_vae(),
        "scheduler": scheduler,
        "image_encoder": tiny_image_encoder(PIXELS),
        "feature_extractor": CLIPImageProcessor(),
    }


ARGUMENTS = {"image": pictures(PIXELS), "height": PIXELS, "width": PIXELS}
FAMILIES = [
    Tiny("StableVideoDiffusionPipeline", parts, ARGUMENTS),
    Tiny("StableVideoDiffusionPipeline-pieces", parts, {**ARGUMENTS, "decode_chunk_size": 2}),
]
