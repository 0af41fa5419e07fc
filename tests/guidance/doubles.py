"""Small stand-ins: a Stable Diffusion pipeline without a download, and a Latent-CLIP with a known gradient."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from torch import Tensor, nn
from transformers import CLIPTextModel

from latent_guard.concepts.bank import Concept, ConceptBank
from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import SAFE, Policy
from latent_guard.latent_clip.latent_space import LatentSpace
from tests.guidance.parts import CHANNELS, SIDE, byte_tokenizer, clip, unet, vae

SPACE = LatentSpace("AutoencoderKL", channels=CHANNELS, factor=4, scaling_factor=0.5)
SCHEDULER = {
    "clip_sample": False,
    "steps_offset": 1,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
}


def tiny_pipeline(scheduler: Any = None, *, blank: bool = False) -> StableDiffusionPipeline:
    """32 px pictures, random weights; with `blank`, a UNet that always predicts 0."""
    torch.manual_seed(0)
    autoencoder, denoiser = vae(SPACE.scaling_factor), unet()
    if blank:
        nn.init.zeros_(denoiser.conv_out.weight)
        nn.init.zeros_(denoiser.conv_out.bias)
    pipe = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=clip(CLIPTextModel),
        tokenizer=byte_tokenizer(),
        unet=denoiser,
        scheduler=scheduler or DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


SCALE = 1024.0  # of the cosines of a bank for `embedding`: more than any score here, and exact


def embedding(*scores: Tensor) -> Tensor:
    """Embeddings (B, n + 2) of length one whose cosine with axis k is a score (B,) by SCALE, and 0 with axis n."""
    towards = torch.stack(scores, dim=1) / SCALE
    rest = (1 - towards.square().sum(dim=1, keepdim=True)).sqrt()
    return torch.cat([towards, torch.zeros_like(rest), rest], dim=1)


class LinearCritic(nn.Module):
    """A Latent-CLIP whose score of a raw latent, against `linear_bank`, is its mean along `direction`."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(latent_space=SPACE)
        self.direction = nn.Parameter(torch.randn(CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(7)))
        self.levels_told: list[float] = []

    def score(self, raw: Tensor) -> Tensor:
        return (raw * self.direction).mean(dim=(1, 2, 3))

    def encode_latents(self, latents: Tensor, noise_level: float | None = None, normalize: bool = False) -> Tensor:
        assert noise_level is not None
        self.levels_told.append(noise_level)
        return embedding(self.score(latents))

    def fingerprint(self) -> str:
        return "linear"


class BrokenCritic(LinearCritic):
    """Raises an error, or gives a score that is not finite."""

    def __init__(self, *, error: Exception | None = None, value: float = float("nan")) -> None:
        super().__init__()
        self._error, self._value = error, value

    def score(self, raw: Tensor) -> Tensor:
        if self._error is not None:
            raise self._error
        return super().score(raw) * 0 + self._value


def linear_bank(threshold: float) -> ConceptBank:
    return ConceptBank(
        concepts=(Concept("a knife", "violence"),),
        embeddings=torch.tensor([[1.0, 0.0, 0.0]]),
        benign_prompts=("a spoon",),
        benign=torch.tensor([[0.0, 1.0, 0.0]]),
        fingerprint="linear",
        logit_scale=SCALE,
        noise_levels=torch.zeros(1),
        thresholds=torch.tensor([[threshold]]),
    )


def linear_guard(
    threshold: float, policy: Policy = SAFE, model: LinearCritic | None = None, audit: AuditLog | None = None
) -> LatentGuard:
    return LatentGuard(model or LinearCritic(), linear_bank(threshold), policy, audit=audit)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]
