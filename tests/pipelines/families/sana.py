"""Sana, and the VAE that it has."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, pictures

PIXELS, CHANNELS = 64, 4
SIZES: dict[str, Any] = {
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "num_layers": 1,
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "num_cross_attention_heads": 2,
    "cross_attention_head_dim": 8,
    "cross_attention_dim": 16,
    "caption_channels": WIDTH,
    "mlp_ratio": 1.0,
    "sample_size": 8,
}


def dc(channels: int = CHANNELS, levels: int = 4) -> Any:
    """An AutoencoderDC of factor 2 ** (levels - 1)."""
    sides: dict[str, Any] = {
        f"{side}_{name}": (value,) * levels
        for side in ("encoder", "decoder")
        for name, value in {"block_out_channels": 8, "layers_per_block": 1, "qkv_multiscales": ()}.items()
    }
    return diffusers.AutoencoderDC(latent_channels=channels, scaling_factor=0.7, **sides)


def parts() -> dict[str, Any]:
    return {
        "transformer": diffusers.SanaTransformer2DModel(**SIZES),
        "vae": dc(),
        "scheduler": diffusers.DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    }


def euler_parts() -> dict[str, Any]:
    return {**parts(), "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)}


def controlled_parts() -> dict[str, Any]:
    return {**parts(), "controlnet": diffusers.SanaControlNetModel(**SIZES)}


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "negative_prompt": None,
    "height": PIXELS,
    "width": PIXELS,
    "use_resolution_binning": False,
}
FAMILIES = [
    Tiny("SanaPipeline", parts, TEXT),
    Tiny("SanaPAGPipeline", euler_parts, TEXT),
    Tiny("SanaControlNetPipeline", controlled_parts, {**TEXT, "control_image": 2 * pictures(PIXELS) - 1}),
]
