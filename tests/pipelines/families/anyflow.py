"""AnyFlow, whose denoiser predicts the mean velocity of a step; its other class makes a video chunk by chunk."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families import wan
from tests.pipelines.families.tiny import Tiny


def parts() -> dict[str, Any]:
    transformer = diffusers.AnyFlowTransformer3DModel(in_channels=wan.CHANNELS, **wan.SIZES)
    scheduler = diffusers.FlowMapEulerDiscreteScheduler(shift=3.0)
    return {"transformer": transformer, "vae": wan.wan_vae(), "scheduler": scheduler}


def chunk_parts() -> dict[str, Any]:
    transformer = diffusers.AnyFlowFARTransformer3DModel(
        in_channels=wan.CHANNELS, chunk_partition=(1, 1), full_chunk_limit=2, **wan.SIZES
    )
    return {**parts(), "transformer": transformer}


CALL = {**wan.TEXT, "guidance_scale": 2.0}  # without guidance it takes no negative prompts
FAMILIES = [Tiny("AnyFlowPipeline", parts, CALL)]
DECODED = [Tiny("AnyFlowFARPipeline", chunk_parts, CALL)]
