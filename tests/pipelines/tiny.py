"""Every pipeline family that the guard knows, built tiny from configs: 32 px pictures, latents of 4 x 8 x 8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import diffusers
import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from latent_guard.latent_clip.latent_space import LatentSpace
from tests.guidance.doubles import SCHEDULER, generators, tiny_pipeline
from tests.guidance.parts import CHANNELS, PIXELS, SIDE, WIDTH, byte_tokenizer, clip, unet, vae

BATCH, TOKENS = 3, 5
STEPS = 4


def embeds(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(seed))


def sd(cls: Any) -> Any:
    return cls(**tiny_pipeline().components, requires_safety_checker=False)


def lcm(cls: Any) -> Any:
    parts = {**tiny_pipeline().components, "scheduler": diffusers.LCMScheduler(**SCHEDULER)}
    parts["unet"] = unet(time_cond_proj_dim=8)
    return cls(**parts, requires_safety_checker=False)


def sdxl(cls: Any, channels: int = CHANNELS) -> Any:
    time_ids = 8
    return cls(
        vae=vae(0.13),
        unet=unet(
            channels,
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=time_ids,
            projection_class_embeddings_input_dim=6 * time_ids + WIDTH,
        ),
        text_encoder=clip(CLIPTextModel, layers=2),
        text_encoder_2=clip(CLIPTextModelWithProjection, layers=2),
        tokenizer=byte_tokenizer(),
        tokenizer_2=byte_tokenizer(),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="leading"
        ),
        add_watermarker=False,
    )


def sd3(cls: Any) -> Any:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=SIDE,
        patch_size=2,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=WIDTH,
        pos_embed_max_size=16,
    )
    encoders = {f"{part}{end}": None for part in ("text_encoder", "tokenizer") for end in ("", "_2", "_3")}
    return cls(vae=vae(1.5, 0.06), transformer=transformer, scheduler=flow(), **encoders)


def flux(cls: Any) -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * CHANNELS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
    )
    encoders = {f"{part}{end}": None for part in ("text_encoder", "tokenizer") for end in ("", "_2")}
    return cls(vae=vae(0.36, 0.11), transformer=transformer, scheduler=flow(), **encoders)


def pixart(cls: Any) -> Any:
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=SIDE,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_channels=WIDTH,
        in_channels=CHANNELS,
        out_channels=2 * CHANNELS,
        cross_attention_dim=16,
    )
    scheduler = diffusers.DPMSolverMultistepScheduler(beta_schedule="linear")
    return cls(vae=vae(0.18), transformer=transformer, scheduler=scheduler, tokenizer=None, text_encoder=None)


def flow() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)


@dataclass(frozen=True)
class Family:
    """How to build a family's pipeline, and the arguments of a call that makes a batch of three."""

    name: str
    build: Callable[[], Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    starts_from_picture: bool = False

    def pipeline(self, *, blank: bool = False) -> Any:
        """The pipeline with random weights; with `blank`, a denoiser that always predicts 0."""
        torch.manual_seed(0)
        pipe = self.build()
        pipe.set_progress_bar_config(disable=True)
        if blank:
            denoiser = pipe.components.get("unet") or pipe.transformer
            last = denoiser.conv_out if hasattr(denoiser, "conv_out") else denoiser.proj_out
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        return pipe

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
    Family("StableDiffusionPipeline", partial(sd, diffusers.StableDiffusionPipeline), PROMPTS),
    Family(
        "StableDiffusionImg2ImgPipeline",
        partial(sd, diffusers.StableDiffusionImg2ImgPipeline),
        {**PROMPTS, **LATE},
        starts_from_picture=True,
    ),
    Family("StableDiffusionXLPipeline", partial(sdxl, diffusers.StableDiffusionXLPipeline), SDXL),
    Family(
        "StableDiffusionXLImg2ImgPipeline",
        partial(sdxl, diffusers.StableDiffusionXLImg2ImgPipeline),
        {**PROMPTS, **LATE},
        starts_from_picture=True,
    ),
    Family("StableDiffusionXLInpaintPipeline", partial(sdxl, diffusers.StableDiffusionXLInpaintPipeline), MASKED),
    Family(
        "StableDiffusionXLInpaintPipeline-9",
        partial(sdxl, diffusers.StableDiffusionXLInpaintPipeline, 2 * CHANNELS + 1),
        MASKED,
    ),
    Family("StableDiffusion3Pipeline", partial(sd3, diffusers.StableDiffusion3Pipeline), SD3),
    Family(
        "StableDiffusion3Img2ImgPipeline",
        partial(sd3, diffusers.StableDiffusion3Img2ImgPipeline),
        {**SD3, **LATE},
        starts_from_picture=True,
    ),
    Family("FluxPipeline", partial(flux, diffusers.FluxPipeline), FLUX),
    Family(
        "FluxImg2ImgPipeline",
        partial(flux, diffusers.FluxImg2ImgPipeline),
        {**FLUX, **LATE},
        starts_from_picture=True,
    ),
    Family("PixArtAlphaPipeline", partial(pixart, diffusers.PixArtAlphaPipeline), PIXART),
    Family("PixArtSigmaPipeline", partial(pixart, diffusers.PixArtSigmaPipeline), PIXART),
    Family("LatentConsistencyModelPipeline", partial(lcm, diffusers.LatentConsistencyModelPipeline), PROMPTS),
    Family(
        "LatentConsistencyModelImg2ImgPipeline",
        partial(lcm, diffusers.LatentConsistencyModelImg2ImgPipeline),
        {**PROMPTS, **LATE},
        starts_from_picture=True,
    ),
]
BY_NAME = {family.name: family for family in FAMILIES}
