"""Cosmos-Predict2's and 2.5's worlds: videos of Wan's VAE, whose denoisers read a mask of the given frames too."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families import wan
from tests.pipelines.families.cosmos import NoSafetyChecker
from tests.pipelines.families.tiny import WIDTH, Tiny, pictures


def parts() -> dict[str, Any]:
    transformer = diffusers.CosmosTransformer3DModel(
        in_channels=wan.CHANNELS + 1,
        out_channels=wan.CHANNELS,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        mlp_ratio=1.0,
        text_embed_dim=WIDTH,
        adaln_lora_dim=4,
        max_size=(4, 32, 32),
    )
    return {
        "transformer": transformer,
        "vae": wan.wan_vae(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
        "safety_checker": NoSafetyChecker(),
    }


def parts_of_25() -> dict[str, Any]:
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        use_karras_sigmas=True,
        sigma_min=0.147,
        sigma_max=200.0,
    )
    return {**parts(), "scheduler": scheduler}


FAMILIES = [
    Tiny("Cosmos2VideoToWorldPipeline", parts, {**wan.TEXT, "image": pictures(wan.PIXELS)}),
    Tiny("Cosmos2_5_PredictBasePipeline", parts_of_25, wan.TEXT),
]
