"""Latte: Stable Diffusion's VAE decodes its frames one by one, or one of videos does."""

from __future__ import annotations

from typing import Any

import diffusers

from latent_guard.testing.pipelines import CHANNELS, DDIM
from tests.pipelines.families.stable_video_diffusion import temporal_vae
from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds, kl

PIXELS, FRAMES = 32, 3


def parts() -> dict[str, Any]:
    transformer = diffusers.LatteTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=CHANNELS,
        out_channels=2 * CHANNELS,  # and a variance, which is dropped
        cross_attention_dim=WIDTH,
        sample_size=8,
        patch_size=2,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        caption_channels=WIDTH,
        video_length=FRAMES,
    )
    return {"transformer": transformer, "vae": kl(), "scheduler": diffusers.DDIMScheduler(**DDIM)}


def temporal_parts() -> dict[str, Any]:
    return {**parts(), "vae": temporal_vae()}


TEXT = {
    "negative_prompt": None,  # its default, "", counts as given beside embeds
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "video_length": FRAMES,
    "height": PIXELS,
    "width": PIXELS,
}
FAMILIES = [
    Tiny("LattePipeline", parts, TEXT),
    Tiny("LattePipeline-temporal", temporal_parts, TEXT),
]
