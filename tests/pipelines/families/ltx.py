"""LTX, from words, from a picture, and with pictures at any of its frames."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.qwen_image import drawn
from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, pictures

PIXELS, FRAMES, CHANNELS = 32, 5, 4
SCALED = (True, False)  # in space and time, of the VAE's levels


def ltx_vae() -> Any:
    """Of factor 8, with numbers that the published ones have among their weights."""
    sides: dict[str, Any] = {
        f"{side}{name}": value
        for side in ("", "decoder_")
        for name, value in {
            "block_out_channels": (8, 8),
            "layers_per_block": (1, 1, 1),
            "spatio_temporal_scaling": SCALED,
        }.items()
    }
    vae = diffusers.AutoencoderKLLTXVideo(
        latent_channels=CHANNELS,
        down_block_types=("LTXVideoDownBlock3D",) * 2,
        decoder_inject_noise=(False,) * 3,
        patch_size=4,
        scaling_factor=0.7,
        **sides,
    )
    vae.latents_mean.copy_(0.3 * torch.arange(CHANNELS) - 0.5)
    vae.latents_std.copy_(1.5 + 0.25 * torch.arange(CHANNELS))
    return vae


def parts() -> dict[str, Any]:
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        num_layers=1,
        caption_channels=WIDTH,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return {"transformer": transformer, "vae": ltx_vae(), "scheduler": scheduler}


def conditioned_parts() -> dict[str, Any]:
    """It gives every token a noise level of its own."""
    return {**parts(), "scheduler": diffusers.FlowMatchEulerDiscreteScheduler()}


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "height": PIXELS,
    "width": PIXELS,
    "num_frames": FRAMES,
}
FAMILIES = [
    Tiny("LTXPipeline", parts, TEXT),
    Tiny("LTXImageToVideoPipeline", parts, {**TEXT, "image": pictures(PIXELS)}),
]
DECODED = [Tiny("LTXConditionPipeline", conditioned_parts, {**TEXT, "image": drawn(PIXELS)[0]})]
