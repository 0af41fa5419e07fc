"""Qwen-Image, its ControlNets and its editing pipelines."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.pipelines.qwenimage import (
    pipeline_qwenimage_edit,
    pipeline_qwenimage_edit_inpaint,
    pipeline_qwenimage_edit_plus,
)
from PIL import Image

from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, masks, pictures

PIXELS, CHANNELS = 32, 4
MASK_CHANNELS = 4  # that a ControlNet for inpainting reads on top


def qwen_vae(levels: int = 3) -> Any:
    """A VAE of factor 2 ** levels."""
    return diffusers.AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=CHANNELS,
        dim_mult=[1] * (levels + 1),
        num_res_blocks=0,
        temperal_downsample=[False] * levels,
        latents_mean=[0.3 * n - 0.5 for n in range(CHANNELS)],
        latents_std=[1.5 + 0.25 * n for n in range(CHANNELS)],
    )


def flow() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)


SIZES: dict[str, Any] = {
    "in_channels": 4 * CHANNELS,
    "out_channels": CHANNELS,
    "num_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": WIDTH,
    "axes_dims_rope": (4, 6, 6),
}


def parts() -> dict[str, Any]:
    return {
        "transformer": diffusers.QwenImageTransformer2DModel(**SIZES),
        "vae": qwen_vae(),
        "scheduler": flow(),
    }


def controlled_parts(extra_channels: int = 0) -> dict[str, Any]:
    controlnet = diffusers.QwenImageControlNetModel(**SIZES, extra_condition_channels=extra_channels)
    return {**parts(), "controlnet": controlnet}


def controlled_inpaint_parts() -> dict[str, Any]:
    return controlled_parts(MASK_CHANNELS)


def drawn(pixels: int) -> list[Any]:
    """The three pictures as PIL's, which the editing pipelines insist on."""
    arrays = (pictures(pixels).movedim(1, -1).numpy() * 255).astype(np.uint8)
    return [Image.fromarray(array) for array in arrays]


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_embeds_mask": torch.ones(BATCH, TOKENS, dtype=torch.bool),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_embeds_mask": torch.ones(BATCH, TOKENS, dtype=torch.bool),
    "height": PIXELS,
    "width": PIXELS,
}
INPAINT = {"mask_image": masks(PIXELS), "strength": 1.0}
EDITED = {**TEXT, "image": drawn(PIXELS)}
SMALL = (PIXELS, PIXELS, None)
# This class takes one prompt at a time.
ONE_PROMPT = {
    **{name: rows[:1] for name, rows in TEXT.items() if isinstance(rows, torch.Tensor)},
    "num_images_per_prompt": BATCH,
}
FAMILIES = [
    Tiny("QwenImagePipeline", parts, TEXT),
    Tiny("QwenImageImg2ImgPipeline", parts, {**TEXT, "image": pictures(PIXELS), "strength": 1.0}),
    Tiny("QwenImageInpaintPipeline", parts, {**TEXT, "image": pictures(PIXELS), **INPAINT}),
    Tiny("QwenImageControlNetPipeline", controlled_parts, {**TEXT, "control_image": pictures(PIXELS)}),
    Tiny(
        "QwenImageControlNetInpaintPipeline",
        controlled_inpaint_parts,
        {**TEXT, "control_image": pictures(PIXELS), "control_mask": masks(PIXELS)},
    ),
    Tiny("QwenImageEditPipeline", parts, EDITED, edits=(pipeline_qwenimage_edit, SMALL)),
    Tiny("QwenImageEditInpaintPipeline", parts, {**EDITED, **INPAINT}, edits=(pipeline_qwenimage_edit_inpaint, SMALL)),
    Tiny(
        "QwenImageEditPlusPipeline",
        parts,
        {**EDITED, **ONE_PROMPT, "image": drawn(PIXELS)[:2]},
        edits=(pipeline_qwenimage_edit_plus, SMALL[:2]),
    ),
]
