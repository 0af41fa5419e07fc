"""Cosmos-Predict2's pictures: Wan's VAE, latents to which noise of up to eighty times their size is added."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds
from tests.pipelines.families.wan import CHANNELS, wan_vae

HEIGHT, WIDTH_IN_PIXELS = 32, 48


class NoSafetyChecker:
    """Stands for NVIDIA's checker, which the class insists on."""

    def to(self, _: Any) -> None:
        """As of a module."""

    def check_video_safety(self, frames: Any) -> Any:
        return frames


def parts() -> dict[str, Any]:
    transformer = diffusers.CosmosTransformer3DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
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
        "vae": wan_vae(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
        "safety_checker": NoSafetyChecker(),
    }


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "height": HEIGHT,
    "width": WIDTH_IN_PIXELS,
}
FAMILIES = [Tiny("Cosmos2TextToImagePipeline", parts, TEXT)]
