"""Few-step pipelines of several families, tiny; and rewards with a known best."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

import diffusers
import torch
from torch import Tensor

from latent_guard.reno.rewards import FunctionReward, Reads
from latent_guard.testing import tiny_pipeline
from latent_guard.testing.pipelines import DDIM
from tests.pipelines.tiny import BY_NAME, FLUX, PIXART, SD3

PIXELS = {"height": 32, "width": 32}


def turbo(**config: Any) -> Any:
    """Stable Diffusion as SD-Turbo has it."""
    return tiny_pipeline(scheduler=diffusers.EulerDiscreteScheduler(**SCHEDULER_OF_TURBO, **config))


def lcm() -> Any:
    return tiny_pipeline(scheduler=diffusers.LCMScheduler(**{k: v for k, v in DDIM.items() if k != "clip_sample"}))


SCHEDULER_OF_TURBO = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "timestep_spacing": "trailing",
}


def sdxl_turbo() -> Any:
    pipe = BY_NAME["StableDiffusionXLPipeline"].pipeline()
    pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler(**SCHEDULER_OF_TURBO)
    return pipe


def without_encoder(name: str, embeddings: dict[str, Any], order: Sequence[str]) -> Any:
    """A pipeline of a family whose text encoders are left out: its `encode_prompt` hands out fixed embeddings."""
    pipe = BY_NAME[name].pipeline()

    def encode_prompt(self: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return tuple(
            embeddings[key][:1] if isinstance(embeddings.get(key), Tensor) else embeddings.get(key) for key in order
        )

    pipe.encode_prompt = types.MethodType(encode_prompt, pipe)
    return pipe


def sd3() -> Any:
    keys = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    return without_encoder("StableDiffusion3Pipeline", SD3, keys)


def flux() -> Any:
    with_ids = {**FLUX, "text_ids": torch.zeros(5, 3)}
    pipe = without_encoder("FluxPipeline", with_ids, ("prompt_embeds", "pooled_prompt_embeds", "text_ids"))
    whole = pipe.encode_prompt

    def encode_prompt(self: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        words, pooled, _ = whole()
        return words, pooled, with_ids["text_ids"]

    pipe.encode_prompt = types.MethodType(encode_prompt, pipe)
    return pipe


def pixart() -> Any:
    keys = (
        "prompt_embeds",
        "prompt_attention_mask",
        "negative_prompt_embeds",
        "negative_prompt_attention_mask",
    )
    pipe = without_encoder("PixArtSigmaPipeline", PIXART, keys)
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler(beta_schedule="linear", timestep_spacing="trailing")
    return pipe


FAMILIES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "SD-Turbo": (turbo, {}),
    "LCM scheduler": (lcm, {}),
    "LCM": (lambda: BY_NAME["LatentConsistencyModelPipeline"].pipeline(), {}),
    "SDXL-Turbo": (sdxl_turbo, PIXELS),
    "SD3": (sd3, {**PIXELS}),
    "FLUX.1": (flux, PIXELS),
    "PixArt-Sigma": (pixart, {**PIXELS, "use_resolution_binning": False, "negative_prompt": ""}),
}


def toward(level: float, name: str = "level", reads: Reads = Reads.LATENTS, weight: float = 1.0) -> FunctionReward:
    """Highest, at 0, where the first channel's mean is at a level."""

    def closeness(inputs: Tensor, prompts: Sequence[str]) -> Tensor:
        return -10 * (inputs[:, 0].mean(dim=(1, 2)) - level).square()

    return FunctionReward(closeness, name, reads, weight=weight)
