"""Tiny modular pipelines that start from pictures: the same classes, whose blocks are chosen by what a call gives."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.modular_pipelines.qwenimage import encoders

from tests.pipelines.families import flux, modular_only, qwen_image, qwen_image21, stable_diffusion_3, z_image
from tests.pipelines.families import stable_diffusion_xl as sdxl
from tests.pipelines.families.modular_tiny import TinyModular
from tests.pipelines.families.stable_diffusion import CONTROL, MASKED, REDRAWN
from tests.pipelines.families.tiny import BATCH, TOKENS, kl, masks, pictures


def redrawn(pixels: int) -> dict[str, Any]:
    """The arguments that redraw a picture."""
    return {"image": pictures(pixels), "strength": 1.0}


def sdxl_parts(filling: bool = False) -> dict[str, Any]:
    """SDXL, whose block for inpainting fails with a VAE that has means and deviations (``self.vae``, of a block)."""
    vae = kl(force_upcast=False, latents_mean=None, latents_std=None)
    return {**(sdxl.filling_parts() if filling else sdxl.parts()), "vae": vae}


def sdxl_filling_parts() -> dict[str, Any]:
    return sdxl_parts(filling=True)


REFERENCES = qwen_image21.REFERRING["image"]
AMONG_WORDS = (torch.arange(TOKENS) < len(REFERENCES)).expand(BATCH, TOKENS)  # where they stand in the prompts
REFERRING = {
    **modular_only.JOINT,
    "image": REFERENCES,
    "output_resolution": qwen_image21.SIDE,
    "image_pad_mask": AMONG_WORDS,
    "negative_image_pad_mask": AMONG_WORDS,
}
ANIMA = {**modular_only.WORDS, "height": flux.PIXELS, "width": flux.PIXELS, **redrawn(flux.PIXELS)}
FAMILIES = [
    TinyModular(
        "QwenImageModularPipeline-img2img",
        qwen_image.parts,
        {**qwen_image.TEXT, **redrawn(qwen_image.PIXELS)},
        latent=False,
    ),
    TinyModular(
        "QwenImageModularPipeline-controlnet",
        qwen_image.controlled_parts,
        {**qwen_image.TEXT, "control_image": pictures(qwen_image.PIXELS)},
        latent=False,
    ),
    TinyModular(
        "ZImageModularPipeline-img2img", z_image.parts, {**z_image.TEXT, **redrawn(z_image.PIXELS)}, latent=False
    ),
    TinyModular("FluxModularPipeline-img2img", flux.parts, {**flux.TEXT, **redrawn(flux.PIXELS)}),
    TinyModular(
        "StableDiffusion3ModularPipeline-img2img", stable_diffusion_3.parts, {**stable_diffusion_3.TEXT, **REDRAWN}
    ),
    TinyModular("StableDiffusionXLModularPipeline-img2img", sdxl.parts, {**sdxl.POOLED, **REDRAWN}),
    TinyModular("StableDiffusionXLModularPipeline-controlnet", sdxl.parts, {**sdxl.POOLED, **CONTROL}),
    TinyModular("StableDiffusionXLModularPipeline-union", sdxl.union_parts, {**sdxl.POOLED, **sdxl.UNION}),
    TinyModular("AnimaModularPipeline-img2img", modular_only.anima_parts, ANIMA, latent=False),
    TinyModular("QwenImage21ModularPipeline-references", qwen_image21.parts, REFERRING, latent=False),
]

# A block puts the original back after each step, but for a UNet that reads mask and masked latents.
# Qwen-Image's hand out PIL's images alone.
MASK = {"mask_image": masks(qwen_image.PIXELS), "strength": 1.0, "output_type": "pil"}
INPAINTING = [
    TinyModular("StableDiffusionXLModularPipeline-inpaint", sdxl_parts, {**sdxl.POOLED, **MASKED}),
    TinyModular("StableDiffusionXLModularPipeline-inpaint-9", sdxl_filling_parts, {**sdxl.POOLED, **MASKED}),
    TinyModular(
        "QwenImageModularPipeline-inpaint",
        qwen_image.parts,
        {**qwen_image.TEXT, "image": pictures(qwen_image.PIXELS), **MASK},
        latent=False,
    ),
    TinyModular(
        "QwenImageEditModularPipeline-inpaint",
        qwen_image.parts,
        {**qwen_image.EDITED, **MASK},
        edits=(encoders, qwen_image.SMALL),
        latent=False,
    ),
]
