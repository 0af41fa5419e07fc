"""PRX, with either kind of VAE that it may have."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.sana import dc
from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, kl

PIXELS, CHANNELS = 64, 16


def parts(channels: int = CHANNELS) -> dict[str, Any]:
    transformer = diffusers.PRXTransformer2DModel(
        in_channels=channels,
        context_in_dim=WIDTH,
        hidden_size=32,
        mlp_ratio=1.0,
        num_heads=2,
        depth=1,
        axes_dim=[8, 8],
    )
    return {
        "transformer": transformer,
        "vae": kl(channels, levels=4),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


def dc_parts() -> dict[str, Any]:
    vae = dc()
    return {**parts(vae.config.latent_channels), "vae": vae}


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_attention_mask": torch.ones(BATCH, TOKENS, dtype=torch.bool),
    "guidance_scale": 1.0,  # with guidance it can only make one picture at a time
    "height": PIXELS,
    "width": PIXELS,
    "use_resolution_binning": False,
}
FAMILIES = [Tiny("PRXPipeline", parts, TEXT), Tiny("PRXPipeline-dc", dc_parts, TEXT)]
