"""Tiny modular pipelines: those with classical twins, of the twins' parts, and all others."""

from __future__ import annotations

from diffusers.modular_pipelines.qwenimage import encoders

from tests.pipelines.families import flux, flux2, krea2, qwen_image, stable_diffusion_3, stable_diffusion_xl, z_image
from tests.pipelines.families.modular_tiny import TinyModular, wide, without_negative

EDITED = wide(qwen_image.EDITED)
KREA2_TEXT = krea2.FAMILIES[0].arguments
KONTEXT = {**flux.TEXT, **flux.KONTEXT, "image": qwen_image.drawn(flux.PIXELS)}
ENHANCED = ("prompt_enhancer", "text_encoder")

REFERRING = {**wide(flux2.TEXT), **flux2.REFERENCES}

FAMILIES = [
    TinyModular("Flux2KleinModularPipeline", flux2.parts, wide(flux2.TEXT), latent=False),
    TinyModular("Flux2KleinModularPipeline-references", flux2.parts, REFERRING, latent=False),
    TinyModular("Flux2KleinBaseModularPipeline", flux2.parts, wide(flux2.GUIDED), latent=False),
    TinyModular("Flux2ModularPipeline", flux2.dev_parts, wide(flux2.TEXT), latent=False),
    TinyModular("ErnieImageModularPipeline", flux2.ernie_parts, wide(flux2.GUIDED), without=ENHANCED, latent=False),
    TinyModular("QwenImageModularPipeline", qwen_image.parts, wide(qwen_image.TEXT), latent=False),
    TinyModular(
        "QwenImageEditModularPipeline", qwen_image.parts, EDITED, edits=(encoders, qwen_image.SMALL), latent=False
    ),
    TinyModular(
        "QwenImageEditPlusModularPipeline",
        qwen_image.parts,
        {**EDITED, "image": EDITED["image"][:2]},
        edits=(encoders, qwen_image.SMALL),
        latent=False,
    ),
    TinyModular("Krea2ModularPipeline", krea2.parts, wide(KREA2_TEXT), latent=False),
    TinyModular("Krea2TurboModularPipeline", krea2.parts, without_negative(wide(KREA2_TEXT)), latent=False),
    TinyModular("ZImageModularPipeline", z_image.parts, wide(z_image.TEXT), latent=False),
    TinyModular("FluxModularPipeline", flux.parts, wide(flux.TEXT)),
    TinyModular("FluxKontextModularPipeline", flux.parts, KONTEXT),
    TinyModular("StableDiffusionXLModularPipeline", stable_diffusion_xl.parts, stable_diffusion_xl.POOLED),
    TinyModular("StableDiffusion3ModularPipeline", stable_diffusion_3.parts, wide(stable_diffusion_3.TEXT)),
]
