"""A tiny pipeline of every family that the guard knows, and the arguments of a call that makes a batch of three."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.testing import tiny_pipeline
from latent_guard.testing.pipelines import CHANNELS, PIXELS, SIDE, WIDTH

BATCH, TOKENS = 3, 5
STEPS = 4


def embeds(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(seed))


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@dataclass(frozen=True)
class Family:
    """A class of diffusers (and, after a dash, a variant), and how to call it."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    starts_from_picture: bool = False
    channels: int = CHANNELS

    def pipeline(self, *, blank: bool = False) -> Any:
        """The pipeline with random weights; with `blank`, a denoiser that always predicts 0."""
        return tiny_pipeline(self.name.split("-")[0], channels=self.channels, blank=blank)

    def call(self, pipe: Any, **changes: Any) -> Any:
        """The images of three prompts, as latents unless asked otherwise."""
        arguments = {"num_inference_steps": STEPS, "generator": generators(1, 2, 3), "output_type": "latent"}
        if self.starts_from_picture:
            arguments["image"] = pictures()
        return pipe(**{**arguments, **self.arguments, **changes}).images

    def start(self, pipe: Any, latents: Tensor) -> dict[str, Any]:
        """The arguments that start a call at the given latents (3, 4, 8, 8)."""
        if self.starts_from_picture:
            return {"image": latents}
        if "Flux" in self.name:
            return {"latents": pipe._pack_latents(latents, BATCH, CHANNELS, SIDE, SIDE)}
        return {"latents": latents}


def pictures() -> Tensor:
    return torch.rand(BATCH, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(3))


def masks() -> Tensor:
    mask = torch.zeros(BATCH, 1, PIXELS, PIXELS)
    mask[:, :, :, PIXELS // 2 :] = 1.0
    return mask


def unpacked(pipe: Any, latents: Tensor) -> Tensor:
    """A pipeline's latents as (B, C, H, W)."""
    if latents.ndim == 3:
        return pipe._unpack_latents(latents, PIXELS, PIXELS, pipe.vae_scale_factor)  # type: ignore[no-any-return]
    return latents


def raw(pipe: Any, latents: Tensor) -> Tensor:
    return LatentSpace.of_vae(pipe.vae).to_raw(unpacked(pipe, latents))


PROMPTS = {"prompt": ["a cat", "a party", "a dog"]}
SD3 = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "pooled_prompt_embeds": embeds(WIDTH),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_pooled_prompt_embeds": embeds(WIDTH, seed=1),
    "height": PIXELS,
    "width": PIXELS,
}
FLUX = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "pooled_prompt_embeds": embeds(WIDTH),
    "height": PIXELS,
    "width": PIXELS,
}
PIXART = {
    "prompt": None,
    "negative_prompt": None,
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "use_resolution_binning": False,
    "height": PIXELS,
    "width": PIXELS,
}
SDXL = {**PROMPTS, "height": PIXELS, "width": PIXELS}
MASKED = {**SDXL, "image": pictures(), "mask_image": masks(), "strength": 1.0}
LATE = {"strength": 0.75}

FAMILIES = [
    Family("StableDiffusionPipeline", PROMPTS),
    Family("StableDiffusionImg2ImgPipeline", {**PROMPTS, **LATE}, starts_from_picture=True),
    Family("StableDiffusionXLPipeline", SDXL),
    Family("StableDiffusionXLImg2ImgPipeline", {**PROMPTS, **LATE}, starts_from_picture=True),
    Family("StableDiffusionXLInpaintPipeline", MASKED),
    Family("StableDiffusionXLInpaintPipeline-9", MASKED, channels=2 * CHANNELS + 1),
    Family("StableDiffusion3Pipeline", SD3),
    Family("StableDiffusion3Img2ImgPipeline", {**SD3, **LATE}, starts_from_picture=True),
    Family("FluxPipeline", FLUX),
    Family("FluxImg2ImgPipeline", {**FLUX, **LATE}, starts_from_picture=True),
    Family("PixArtAlphaPipeline", PIXART),
    Family("PixArtSigmaPipeline", PIXART),
    Family("LatentConsistencyModelPipeline", PROMPTS),
    Family("LatentConsistencyModelImg2ImgPipeline", {**PROMPTS, **LATE}, starts_from_picture=True),
]
BY_NAME = {family.name: family for family in FAMILIES}
