"""HunyuanVideo, 1 and 1.5, from words and from a picture, with SkyReels and FramePack, which are made of it."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

from tests.pipelines.families.qwen_image import drawn
from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, of_one_prompt, pictures

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


def parts(reads: int = CHANNELS, **changes: Any) -> dict[str, Any]:
    transformer = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=reads, num_single_layers=1, pooled_projection_dim=WIDTH, **SIZES, **changes
    )
    return {
        "transformer": transformer,
        "vae": hunyuan_vae(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
    }


def picture_parts() -> dict[str, Any]:
    """It reads a picture's latents and a mask too."""
    return parts(2 * CHANNELS + 1, image_condition_type="latent_concat")


def replacing_parts() -> dict[str, Any]:
    """It has a picture's latents in the place of its first frame."""
    return parts(image_condition_type="token_replace")


def skyreels_parts() -> dict[str, Any]:
    return parts(2 * CHANNELS)


def siglip_parts() -> dict[str, Any]:
    """What sees a picture."""
    sizes = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = SiglipVisionConfig(image_size=PIXELS, patch_size=PIXELS // 2, **sizes)
    size = {"height": PIXELS, "width": PIXELS}
    return {"image_encoder": SiglipVisionModel(config), "feature_extractor": SiglipImageProcessor(size=size)}


def framepack_parts() -> dict[str, Any]:
    """It makes a video section by section, and decodes each."""
    transformer = diffusers.HunyuanVideoFramepackTransformer3DModel(
        in_channels=CHANNELS,
        num_single_layers=1,
        pooled_projection_dim=WIDTH,
        has_image_proj=True,
        image_proj_dim=WIDTH,
        has_clean_x_embedder=True,
        **SIZES,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return {**parts(), **siglip_parts(), "transformer": transformer, "scheduler": scheduler}


def parts_of_15(task: str = "t2v") -> dict[str, Any]:
    """Its denoiser reads a picture's latents and a mask too."""
    transformer = diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=2 * CHANNELS + 1,
        text_embed_2_dim=WIDTH,
        image_embed_dim=WIDTH,
        target_size=PIXELS,
        task_type=task,
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


def picture_parts_of_15() -> dict[str, Any]:
    return {**parts_of_15("i2v"), **siglip_parts()}


SIZE = {"height": PIXELS, "width": PIXELS, "num_frames": FRAMES}
TEXT = {
    **SIZE,
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "pooled_prompt_embeds": embeds(WIDTH),
    "prompt_attention_mask": torch.ones(BATCH, TOKENS),
}
# Words to be written, the second of two, are none.
EMBEDS_OF_15 = {
    f"{side}prompt_embeds{part}": value
    for side, seed in {"": 0, "negative_": 1}.items()
    for part, value in {
        "": embeds(TOKENS, WIDTH, seed=seed),
        "_mask": torch.ones(BATCH, TOKENS),
        "_2": torch.zeros(BATCH, TOKENS, WIDTH),
        "_mask_2": torch.zeros(BATCH, TOKENS),
    }.items()
}
TEXT_OF_15 = {**EMBEDS_OF_15, **SIZE}
PICTURE = {"image": pictures(PIXELS)}
PICTURE_OF_15 = {**EMBEDS_OF_15, "num_frames": FRAMES, "image": drawn(PIXELS)[0]}  # it asks the picture for its size
FAMILIES = [
    Tiny("HunyuanVideoPipeline", parts, TEXT),
    Tiny("HunyuanVideoImageToVideoPipeline", picture_parts, {**TEXT, **PICTURE}),
    Tiny("HunyuanVideoImageToVideoPipeline-replacing", replacing_parts, {**TEXT, **PICTURE}),
    Tiny("HunyuanSkyreelsImageToVideoPipeline", skyreels_parts, {**TEXT, **PICTURE}),
    Tiny("HunyuanVideo15Pipeline", parts_of_15, of_one_prompt(TEXT_OF_15)),  # its VAE decodes no more than one
    Tiny("HunyuanVideo15ImageToVideoPipeline", picture_parts_of_15, of_one_prompt(PICTURE_OF_15)),
    Tiny(
        "HunyuanVideoFramepackPipeline", framepack_parts, {**TEXT, **PICTURE, "latent_window_size": 3, "num_frames": 13}
    ),
]
