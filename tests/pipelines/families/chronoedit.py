"""ChronoEdit, which reasons over a video for some steps, and goes on with its first and last frame."""

from __future__ import annotations

from typing import Any

import diffusers
from transformers import CLIPImageProcessor

from tests.pipelines.families import wan
from tests.pipelines.families.tiny import WIDTH, Tiny, pictures, tiny_image_encoder


def parts() -> dict[str, Any]:
    transformer = diffusers.ChronoEditTransformer3DModel(
        in_channels=2 * wan.CHANNELS + wan.TEMPORAL,
        image_dim=WIDTH,
        added_kv_proj_dim=24,
        rope_temporal_skip_len=8,
        **wan.SIZES,
    )
    size = {"height": wan.PIXELS, "width": wan.PIXELS}
    return {
        **wan.parts(),
        "transformer": transformer,
        "image_encoder": tiny_image_encoder(wan.PIXELS),
        "image_processor": CLIPImageProcessor(crop_size=size, size=size),
    }


CALL = {**wan.TEXT, "image": pictures(wan.PIXELS)[:1]}
REASONS = {"num_frames": 2 * wan.TEMPORAL + 1, "enable_temporal_reasoning": True, "num_temporal_reasoning_steps": 1}
FAMILIES = [
    Tiny("ChronoEditPipeline", parts, CALL),
    Tiny("ChronoEditPipeline-reasoning", parts, {**CALL, **REASONS}),
]
