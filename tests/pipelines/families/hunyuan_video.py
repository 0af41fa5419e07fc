"""HunyuanVideo, 1 and 1.5."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, of_one_prompt

PIXELS, FRAMES, CHANNELS = 32, 5, 4
SIZES: dict[str, Any] = {
    "out_channels": CHANNELS,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 1,
    "num_refiner_layers": 1,
    "mlp_ratio": 1.0,
    "text_embed_dim": WIDTH,
    "rope_axes_dim": (4, 6, 6),
}


def hunyuan_vae(channels: int = CHANNELS) -> Any:
    """Of factor 4, in time too."""
    levels = 3
    return diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=channels,
        down_block_types=("HunyuanVideoDownBlock3D",) * levels,
        up_block_types=("HunyuanVideoUpBlock3D",) * levels,
        block_out_channels=(8,) * levels,
        layers_per_block=1,
        norm_num_groups=4,
        spatial_compression_ratio=4,
        temporal_compression_ratio=4,
        scaling_factor=0.7,
    )


def parts() -> dict[str, Any]:
    transformer = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=CHANNELS, num_single_layers=1, pooled_projection_dim=WIDTH, **SIZES
    )
    return {
        "transformer": transformer,
        "vae": hunyuan_vae(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
    }


def parts_of_15() -> dict[str, Any]:
    """Its denoiser reads a picture's latents and a mask too."""
    transformer = diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=2 * CHANNELS + 1,
        text_embed_2_dim=WIDTH,
        image_embed_dim=WIDTH,
        target_size=PIXELS,
        task_type="t2v",
        **SIZES,
    )
    vae = diffusers.AutoencoderKLHunyuanVideo15(
        latent_channels=CHANNELS,
        block_out_channels=(32, 32, 32),
        layers_per_block=1,
        spatial_compression_ratio=4,
        temporal_compression_ratio=4,
        scaling_factor=0.7,
    )
    return {**parts(), "transformer": transformer, "vae": vae, "guider": diffusers.ClassifierFreeGuidance()}


SIZE = {"height": PIXELS, "width": PIXELS, "num_frames": FRAMES}
TEXT = {
    **SIZE,
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "pooled_prompt_embeds": embeds(WIDTH),
    "prompt_attention_mask": torch.ones(BATCH, TOKENS),
}
# Words to be written, the second of two, are none.
TEXT_OF_15 = {
    **SIZE,
    **{
        f"{side}prompt_embeds{part}": value
        for side, seed in {"": 0, "negative_": 1}.items()
        for part, value in {
            "": embeds(TOKENS, WIDTH, seed=seed),
            "_mask": torch.ones(BATCH, TOKENS),
            "_2": torch.zeros(BATCH, TOKENS, WIDTH),
            "_mask_2": torch.zeros(BATCH, TOKENS),
        }.items()
    },
}
DECODED = [
    Tiny("HunyuanVideoPipeline", parts, TEXT),
    Tiny("HunyuanVideo15Pipeline", parts_of_15, of_one_prompt(TEXT_OF_15)),  # its VAE decodes no more than one
]
