"""SkyReels-V2: Wan's VAE; the classes that force diffusion give every frame a scheduler of its own."""

from __future__ import annotations

from typing import Any

import diffusers
from transformers import CLIPImageProcessor

from tests.pipelines.families import wan
from tests.pipelines.families.tiny import WIDTH, Tiny, of_one_prompt, pictures, tiny_image_encoder, videos


def parts(reads: int = wan.CHANNELS, **changes: Any) -> dict[str, Any]:
    transformer = diffusers.SkyReelsV2Transformer3DModel(in_channels=reads, **wan.SIZES, **changes)
    return {**wan.parts(), "transformer": transformer}


def picture_parts() -> dict[str, Any]:
    """It reads a mask of a frame's pictures, the first picture's latents, and what CLIP sees in it."""
    size = {"height": wan.PIXELS, "width": wan.PIXELS}
    return {
        **parts(2 * wan.CHANNELS + wan.TEMPORAL, image_dim=WIDTH, added_kv_proj_dim=24),
        "image_encoder": tiny_image_encoder(wan.PIXELS),
        "image_processor": CLIPImageProcessor(crop_size=size, size=size),
    }


PICTURE = {"image": pictures(wan.PIXELS)[:1]}
FORCED = {**of_one_prompt(wan.TEXT), "prompt": None}
LONGER = {"video": videos(wan.FRAMES, wan.PIXELS)[:1], "num_frames": 9, "base_num_frames": 5, "overlap_history": 1}
FAMILIES = [
    Tiny("SkyReelsV2Pipeline", parts, wan.TEXT),
    Tiny("SkyReelsV2ImageToVideoPipeline", picture_parts, {**wan.TEXT, **PICTURE}),
]
DECODED = [
    Tiny("SkyReelsV2DiffusionForcingPipeline", parts, FORCED),
    Tiny("SkyReelsV2DiffusionForcingImageToVideoPipeline", parts, {**FORCED, **PICTURE}),
    Tiny("SkyReelsV2DiffusionForcingVideoToVideoPipeline", parts, {**FORCED, **LONGER}),
]
