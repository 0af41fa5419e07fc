"""Stable Diffusion 1.5 and 2, with ControlNet, PAG, adapters, and as a latent consistency model."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import diffusers

from latent_guard.testing.pipelines import CHANNELS, DDIM, _unet
from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds, kl, masks, pictures

PIXELS = 32
FACTOR = 4  # pixels along one side of a latent position
FILLS = 2 * CHANNELS + 1  # channels that a UNet made for inpainting reads


def unet(reads: int = CHANNELS, **changes: Any) -> Any:
    """A UNet whose blocks stand in the order that an adapter's features need."""
    down, up = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
    return _unet(reads, down_block_types=down, up_block_types=up, **changes)


def controlnet(kind: Any, denoiser: Any, **changes: Any) -> Any:
    """A ControlNet of a UNet's config; it reads latents alone."""
    takes = inspect.signature(kind.__init__).parameters
    shared = {name: value for name, value in denoiser.config.items() if name in takes}
    own = {"in_channels": CHANNELS, "conditioning_embedding_out_channels": (4, 4, 4)}
    return kind(**{**shared, **own, **changes})


def adapter(denoiser: Any) -> Any:
    widths = list(denoiser.config.block_out_channels)
    return diffusers.T2IAdapter(channels=widths, num_res_blocks=1, downscale_factor=FACTOR)


def parts(reads: int = CHANNELS) -> dict[str, Any]:
    denoiser = unet(reads)
    return {
        "unet": denoiser,
        "controlnet": controlnet(diffusers.ControlNetModel, denoiser),
        "adapter": adapter(denoiser),
        "vae": kl(),
        "scheduler": diffusers.DDIMScheduler(**DDIM),
        "requires_safety_checker": False,
    }


def consistency_parts() -> dict[str, Any]:
    return {**parts(), "unet": unet(time_cond_proj_dim=8), "scheduler": diffusers.LCMScheduler(**DDIM)}


filling_parts = partial(parts, FILLS)
pix2pix_parts = partial(parts, 2 * CHANNELS)

PROMPT = {"prompt_embeds": embeds(TOKENS, WIDTH)}
TEXT = {**PROMPT, "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1)}
PICTURE: dict[str, Any] = {"image": pictures(PIXELS)}
REDRAWN: dict[str, Any] = {**PICTURE, "strength": 1.0}
MASKED: dict[str, Any] = {**REDRAWN, "mask_image": masks(PIXELS)}
CONTROL: dict[str, Any] = {"control_image": pictures(PIXELS)}

FAMILIES = [
    Tiny("StableDiffusionPipeline", parts, TEXT),
    Tiny("StableDiffusionImg2ImgPipeline", parts, {**TEXT, **REDRAWN}),
    Tiny("StableDiffusionInpaintPipeline", parts, {**TEXT, **MASKED}),
    Tiny("StableDiffusionInpaintPipeline-9", filling_parts, {**TEXT, **MASKED}),
    Tiny("StableDiffusionControlNetPipeline", parts, {**TEXT, **PICTURE}),
    Tiny("StableDiffusionControlNetImg2ImgPipeline", parts, {**TEXT, **REDRAWN, **CONTROL}),
    Tiny("StableDiffusionControlNetInpaintPipeline", parts, {**TEXT, **MASKED, **CONTROL}),
    Tiny("StableDiffusionPAGPipeline", parts, TEXT),
    Tiny("StableDiffusionPAGImg2ImgPipeline", parts, {**TEXT, **REDRAWN}),
    Tiny("StableDiffusionPAGInpaintPipeline", parts, {**TEXT, **MASKED}),
    Tiny("StableDiffusionControlNetPAGPipeline", parts, {**TEXT, **PICTURE}),
    Tiny("StableDiffusionControlNetPAGInpaintPipeline", parts, {**TEXT, **MASKED, **CONTROL}),
    Tiny("StableDiffusionAdapterPipeline", parts, {**TEXT, **PICTURE}),
    Tiny("StableDiffusionInstructPix2PixPipeline", pix2pix_parts, {**TEXT, **PICTURE}),
    Tiny("LatentConsistencyModelPipeline", consistency_parts, PROMPT),
    Tiny("LatentConsistencyModelImg2ImgPipeline", consistency_parts, {**PROMPT, **REDRAWN}),
]
