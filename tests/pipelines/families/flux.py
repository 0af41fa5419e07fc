"""FLUX.1: packed tokens of 2 x 2 latent positions, the VAE's scaling and shift."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds, kl, masks, pictures

PIXELS, CHANNELS = 64, 4
CARRIED = 4 * CHANNELS  # numbers of a token
FILL = 2 * CARRIED + 4 * 8 * 8  # noisy and masked latents, and every pixel of the mask
SHAPE = {
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": WIDTH,
    "axes_dims_rope": (4, 4, 8),
}


def transformer_parts(kind: Any, in_channels: int = CARRIED, **config: Any) -> dict[str, Any]:
    """A transformer of FLUX.1's kind with its VAE and scheduler."""
    return {
        "transformer": kind(in_channels=in_channels, **SHAPE, **config),
        "vae": kl(CHANNELS, levels=4),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


def parts(reads: int = CARRIED) -> dict[str, Any]:
    """FLUX.1, whose transformer reads so many channels."""
    return transformer_parts(diffusers.FluxTransformer2DModel, reads, out_channels=CARRIED, pooled_projection_dim=WIDTH)


def controlnet_parts() -> dict[str, Any]:
    controlnet = diffusers.FluxControlNetModel(in_channels=CARRIED, pooled_projection_dim=WIDTH, **SHAPE)
    return {**parts(), "controlnet": controlnet}


SIZE = {"height": PIXELS, "width": PIXELS}
TEXT = {"prompt_embeds": embeds(TOKENS, WIDTH), "pooled_prompt_embeds": embeds(WIDTH, seed=1), **SIZE}
IMAGE = {"image": pictures(PIXELS), "strength": 1.0}
MASK = {"mask_image": masks(PIXELS)}
CONTROL = {"control_image": pictures(PIXELS)}
KONTEXT = {"image": pictures(PIXELS), "max_area": PIXELS**2, "_auto_resize": False}

FAMILIES = [
    Tiny("FluxPipeline", parts, TEXT),
    Tiny("FluxImg2ImgPipeline", parts, {**TEXT, **IMAGE}),
    Tiny("FluxInpaintPipeline", parts, {**TEXT, **IMAGE, **MASK}),
    Tiny("FluxControlNetPipeline", controlnet_parts, {**TEXT, **CONTROL}),
    Tiny("FluxControlNetImg2ImgPipeline", controlnet_parts, {**TEXT, **IMAGE, **CONTROL}),
    Tiny("FluxControlNetInpaintPipeline", controlnet_parts, {**TEXT, **IMAGE, **MASK, **CONTROL}),
    Tiny("FluxControlPipeline", partial(parts, 2 * CARRIED), {**TEXT, **CONTROL}),
    Tiny("FluxControlImg2ImgPipeline", partial(parts, 2 * CARRIED), {**TEXT, **IMAGE, **CONTROL}),
    Tiny("FluxControlInpaintPipeline", partial(parts, 2 * CARRIED), {**TEXT, **IMAGE, **MASK, **CONTROL}),
    Tiny("FluxFillPipeline", partial(parts, FILL), {**TEXT, **IMAGE, **MASK}),
    Tiny("FluxKontextPipeline", parts, {**TEXT, **KONTEXT}),
    Tiny("FluxKontextInpaintPipeline", parts, {**TEXT, **KONTEXT, **MASK}),
]
