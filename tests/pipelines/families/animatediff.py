"""AnimateDiff, and PIA, which moves a picture: Stable Diffusion's VAE decodes its frames one by one."""

from __future__ import annotations

from typing import Any

import diffusers

from latent_guard.testing.pipelines import CHANNELS, DDIM, _unet
from tests.pipelines.families import stable_diffusion_xl
from tests.pipelines.families.stable_diffusion import FILLS, PIXELS, TEXT, controlnet
from tests.pipelines.families.tiny import WIDTH, Tiny, kl, pictures, videos

FRAMES = 3
MOTION: dict[str, Any] = {"motion_num_attention_heads": 2}


def moving(denoiser: Any, **changes: Any) -> dict[str, Any]:
    """A UNet of pictures, and what makes it one of videos."""
    adapter = diffusers.MotionAdapter(
        block_out_channels=denoiser.config.block_out_channels,
        motion_layers_per_block=1,
        motion_norm_num_groups=4,
        **{**MOTION, **changes},
    )
    return {"unet": denoiser, "motion_adapter": adapter, "scheduler": diffusers.DDIMScheduler(**DDIM)}


def parts() -> dict[str, Any]:
    denoiser = _unet(CHANNELS)
    return {**moving(denoiser), "vae": kl(), "controlnet": controlnet(diffusers.ControlNetModel, denoiser)}


def xl_parts() -> dict[str, Any]:
    pictures_of = stable_diffusion_xl.parts()
    return {**pictures_of, **moving(pictures_of["unet"])}


def sparse_parts() -> dict[str, Any]:
    """Its ControlNet is told some of the frames."""
    denoiser = _unet(CHANNELS)
    control = diffusers.SparseControlNetModel(
        block_out_channels=denoiser.config.block_out_channels,
        down_block_types=("DownBlockMotion", "CrossAttnDownBlockMotion"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        **MOTION,
    )
    return {**moving(denoiser), "vae": kl(), "controlnet": control}


def picture_parts() -> dict[str, Any]:
    """Its adapter has the UNet read a mask and a picture's latents too."""
    return {**moving(_unet(CHANNELS), conv_in_channels=FILLS), "vae": kl()}


SIZE = {"height": PIXELS, "width": PIXELS}
CALL = {**TEXT, **SIZE, "num_frames": FRAMES}
CONTROL = {"conditioning_frames": list(videos(FRAMES, PIXELS))}
REDRAWN = {**TEXT, **SIZE, "video": videos(FRAMES, PIXELS), "strength": 1.0}
FAMILIES = [
    Tiny("AnimateDiffPipeline", parts, CALL),
    Tiny("AnimateDiffPAGPipeline", parts, CALL),
    Tiny("AnimateDiffSDXLPipeline", xl_parts, {**CALL, **stable_diffusion_xl.POOLED}),
    Tiny("AnimateDiffControlNetPipeline", parts, {**CALL, **CONTROL}),
    Tiny("AnimateDiffSparseControlNetPipeline", sparse_parts, {**CALL, "conditioning_frames": pictures(PIXELS)[:1]}),
    Tiny("AnimateDiffVideoToVideoPipeline", parts, REDRAWN),
    Tiny("AnimateDiffVideoToVideoControlNetPipeline", parts, {**REDRAWN, **CONTROL}),
    Tiny("PIAPipeline", picture_parts, {**CALL, "image": pictures(PIXELS)}),
]
