"""Sana-Video, from words and from a picture, with Wan's VAE or that of LTX-2."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families import ltx2, wan
from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, pictures

HEADS, HEAD_WIDTH = 2, 12


def parts() -> dict[str, Any]:
    transformer = diffusers.SanaVideoTransformer3DModel(
        in_channels=wan.CHANNELS,
        out_channels=wan.CHANNELS,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_WIDTH,
        num_layers=1,
        num_cross_attention_heads=HEADS,
        cross_attention_head_dim=HEAD_WIDTH,
        cross_attention_dim=HEADS * HEAD_WIDTH,
        caption_channels=WIDTH,
    )
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return {"transformer": transformer, "vae": wan.wan_vae(), "scheduler": scheduler}


def picture_parts() -> dict[str, Any]:
    return {**parts(), "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)}


def ltx2_parts() -> dict[str, Any]:
    """It applies that VAE's mean and deviation, and leaves out its scaling factor."""
    return {**parts(), "vae": ltx2.ltx2_vae()}


TEXT = {
    **wan.EMBEDS,
    **wan.SIZE,
    "negative_prompt": None,  # its default, "", counts as given beside embeds
    "frames": wan.FRAMES,
    "prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "negative_prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "use_resolution_binning": False,
}
FAMILIES = [
    Tiny("SanaVideoPipeline", parts, TEXT),
    Tiny("SanaVideoPipeline-ltx2", ltx2_parts, TEXT),
    Tiny("SanaImageToVideoPipeline", picture_parts, {**TEXT, "image": pictures(wan.PIXELS)[:1]}),
]
