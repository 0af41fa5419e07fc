"""Kandinsky 5, pictures and videos."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.hunyuan_video import FRAMES, hunyuan_vae
from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, kl, pictures

PIXELS, CHANNELS = 64, 16


def parts(edits: bool = False) -> dict[str, Any]:
    transformer = diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=CHANNELS,
        out_visual_dim=CHANNELS,
        in_text_dim=WIDTH,
        in_text_dim2=WIDTH,
        time_dim=16,
        model_dim=32,
        ff_dim=32,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(4, 6, 6),
        visual_cond=edits,
    )
    return {
        "transformer": transformer,
        "vae": kl(CHANNELS, levels=4),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


def edit_parts() -> dict[str, Any]:
    return parts(edits=True)


def video_parts() -> dict[str, Any]:
    return {**parts(), "vae": hunyuan_vae(CHANNELS)}


def conditioned_video_parts() -> dict[str, Any]:
    """Its denoiser reads a mask of the frames that are given, too."""
    return {**video_parts(), "transformer": parts(edits=True)["transformer"]}


LENGTHS = torch.arange(BATCH + 1) * TOKENS  # the prompts' lengths, summed up
TEXT = {
    "prompt_embeds_qwen": embeds(TOKENS, WIDTH),
    "prompt_embeds_clip": embeds(WIDTH),
    "prompt_cu_seqlens": LENGTHS,
    "negative_prompt_embeds_qwen": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_embeds_clip": embeds(WIDTH, seed=1),
    "negative_prompt_cu_seqlens": LENGTHS,
    "height": PIXELS,
    "width": PIXELS,
}
SMALL = {"resolutions": [(PIXELS, PIXELS)]}  # they take the nearest of theirs, which are about a megapixel
VIDEO = {**TEXT, "num_frames": FRAMES}
MOVED = {**TEXT, "num_frames": 21, "image": pictures(PIXELS)}  # its first four latent frames get the look of later ones
FAMILIES = [
    Tiny("Kandinsky5T2IPipeline", parts, TEXT, settings=SMALL),
    Tiny("Kandinsky5I2IPipeline", edit_parts, {**TEXT, "image": pictures(PIXELS)}, settings=SMALL),
    Tiny("Kandinsky5T2VPipeline", video_parts, VIDEO),
    Tiny("Kandinsky5T2VPipeline-conditioned", conditioned_video_parts, VIDEO),
    Tiny("Kandinsky5I2VPipeline", video_parts, MOVED),
    Tiny("Kandinsky5I2VPipeline-conditioned", conditioned_video_parts, MOVED),
]
