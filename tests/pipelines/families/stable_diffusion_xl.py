"""Stable Diffusion XL, with ControlNet, ControlNet Union, PAG and adapters."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from latent_guard.testing.pipelines import BETAS, CHANNELS
from tests.pipelines.families.stable_diffusion import (
    CONTROL,
    FILLS,
    MASKED,
    PICTURE,
    REDRAWN,
    TEXT,
    adapter,
    controlnet,
    unet,
)
from tests.pipelines.families.tiny import WIDTH, Tiny, embeds, kl

TIME_IDS, TIME_WIDTH = 6, 8  # six numbers of size and cropping, each embedded


def parts(reads: int = CHANNELS, union: bool = False) -> dict[str, Any]:
    denoiser = unet(
        reads,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=TIME_IDS * TIME_WIDTH + WIDTH,
    )
    if union:
        first = denoiser.config.block_out_channels[0]
        widths = {"num_trans_channel": first, "num_proj_channel": first, "num_trans_head": 2}
        control = controlnet(diffusers.ControlNetUnionModel, denoiser, **widths)
    else:
        control = controlnet(diffusers.ControlNetModel, denoiser)
    return {
        "unet": denoiser,
        "controlnet": control,
        "adapter": adapter(denoiser),
        "vae": kl(force_upcast=False),
        "scheduler": diffusers.EulerDiscreteScheduler(timestep_spacing="leading", **BETAS),
        "add_watermarker": False,
    }


filling_parts = partial(parts, FILLS)
pix2pix_parts = partial(parts, 2 * CHANNELS)
union_parts = partial(parts, union=True)

POOLED = {
    **TEXT,
    "pooled_prompt_embeds": embeds(WIDTH, seed=2),
    "negative_pooled_prompt_embeds": embeds(WIDTH, seed=3),
}
UNION = {**CONTROL, "control_mode": 0}

_LISTED = [
    ("", parts, {}),
    ("Img2Img", parts, REDRAWN),
    ("Inpaint", parts, MASKED),
    ("ControlNet", parts, PICTURE),
    ("ControlNetImg2Img", parts, {**REDRAWN, **CONTROL}),
    ("ControlNetInpaint", parts, {**MASKED, **CONTROL}),
    ("ControlNetUnion", union_parts, UNION),
    ("ControlNetUnionImg2Img", union_parts, {**REDRAWN, **UNION}),
    ("ControlNetUnionInpaint", union_parts, {**MASKED, **UNION}),
    ("PAG", parts, {}),
    ("PAGImg2Img", parts, REDRAWN),
    ("PAGInpaint", parts, MASKED),
    ("ControlNetPAG", parts, PICTURE),
    ("ControlNetPAGImg2Img", parts, {**REDRAWN, **CONTROL}),
    ("Adapter", parts, PICTURE),
    ("InstructPix2Pix", pix2pix_parts, PICTURE),
]
FAMILIES = [
    *(Tiny(f"StableDiffusionXL{end}Pipeline", own, {**POOLED, **more}) for end, own, more in _LISTED),
    Tiny("StableDiffusionXLInpaintPipeline-9", filling_parts, {**POOLED, **MASKED}),
]
