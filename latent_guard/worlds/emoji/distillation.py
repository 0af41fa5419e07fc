"""The few-step generator: the world's denoiser, distilled from twenty steps to one to four."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, LCMScheduler
from diffusers import UNet2DConditionModel as UNet
from torch import Tensor
from transformers import CLIPTextModel

from latent_guard.devices import best_device
from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.worlds.emoji.arguments import GUIDANCE
from latent_guard.worlds.emoji.generator import BATCH, SCHEDULE, cached_scenes
from latent_guard.worlds.emoji.loop import LoopSettings, fit
from latent_guard.worlds.emoji.text_encoder import world_tokenizer

SOLVER_STEPS = 50  # steps of the teacher's ODE; LCMScheduler calls them original_inference_steps


def few_step_scheduler() -> LCMScheduler:
    """The scheduler that the few-step generator is sampled with."""
    return LCMScheduler(**SCHEDULE, original_inference_steps=SOLVER_STEPS)


def distil(
    folder: Path,
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    teacher: UNet,
    settings: LoopSettings,
    *,
    seed: int,
    scenes: int,
) -> UNet:
    """Distil a guided teacher by latent consistency (Luo et al. 2023, Latent Consistency Models, section 4).

    The student's clean estimate at each of ``SOLVER_STEPS`` times must equal its own estimate one DDIM step of the
    teacher earlier, and at the earliest time the clean latent itself. The teacher's guidance scale is the world's; it
    ends up in the student's weights, so the student is sampled without guidance. The target is the student itself,
    without gradient and without an average, under a pseudo-Huber distance (Song & Dhariwal 2024, sections 3.2 and
    3.3).
    """
    device = torch.device(best_device())
    student = copy.deepcopy(teacher).to(device, memory_format=torch.channels_last).requires_grad_(True)
    teacher = copy.deepcopy(teacher).to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    frozen: Any = text_encoder  # transformers types `to` in a way that mypy cannot call
    frozen.to(device).eval().requires_grad_(False)
    data = cached_scenes(folder, vae, seed, scenes)
    empty = tokenize(world_tokenizer(), [""]).to(device)
    alphas = DDPMScheduler(**SCHEDULE).alphas_cumprod
    # time 0 is the clean latent itself, time k is step k * 20 - 1 of the noising process
    stride = len(alphas) // SOLVER_STEPS
    signals = torch.cat([torch.ones(1), alphas[stride - 1 :: stride].sqrt()])

    def loss_at(step: int) -> Tensor:
        batch = data.batch(seed, step)
        noise = torch.randn(batch.clean.shape, generator=batch.generator)
        strata = (torch.rand(BATCH, generator=batch.generator) + torch.arange(BATCH)) / BATCH
        later = 1 + (strata * SOLVER_STEPS).long()
        times = (stride * later - 1).to(device)
        signal, sigma = _scales(signals[later])
        noisy = (signal * batch.clean + sigma * noise).to(device, memory_format=torch.channels_last)
        with torch.no_grad():
            words = frozen(torch.cat([batch.ids.to(device), empty])).last_hidden_state
            none = words[-1:].expand(BATCH, -1, -1)
            words = words[:-1]
            both = teacher(noisy.repeat(2, 1, 1, 1), times.repeat(2), torch.cat([words, none])).sample.float()
            prompted, unprompted = both.chunk(2)
            velocity = unprompted + GUIDANCE * (prompted - unprompted)
            earlier = _ddim_step(noisy, velocity, signals[later].to(device), signals[later - 1].to(device))
            torch.manual_seed(step)
            target = _clean(student, earlier, times - stride, words, signals[later - 1].to(device))
            target = torch.where((later == 1).to(device)[:, None, None, None], earlier, target)
        return pseudo_huber(_clean(student, noisy, times, words, signals[later].to(device)), target)

    return fit(student, loss_at, settings, folder)


def pseudo_huber(estimate: Tensor, target: Tensor) -> Tensor:
    """Return the batch mean of sqrt(|a - b|^2 + c^2) - c, c = 0.00054 sqrt(d) (Song & Dhariwal 2024, section 3.3)."""
    squares = (estimate - target).square().flatten(1)
    c = 0.00054 * squares.shape[1] ** 0.5
    distance: Tensor = (squares.sum(1) + c**2).sqrt() - c
    return distance.mean()


def _scales(signal: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signal and noise scales (B, 1, 1, 1) of a variance-preserving process."""
    signal = signal[:, None, None, None]
    return signal, (1 - signal.square()).clamp_min(0).sqrt()


def _clean(unet: UNet, noisy: Tensor, times: Tensor, words: Tensor, signal: Tensor) -> Tensor:
    """The UNet's clean estimate; LCMScheduler mixes less than a thousandth of a percent of ``noisy`` into it."""
    signal, sigma = _scales(signal)
    velocity: Tensor = unet(noisy, times.clamp_min(0), words).sample.float()
    return signal * noisy - sigma * velocity


def _ddim_step(noisy: Tensor, velocity: Tensor, signal: Tensor, earlier: Tensor) -> Tensor:
    """One deterministic step (Song et al. 2021, equation 12), for velocities."""
    signal, sigma = _scales(signal)
    clean = signal * noisy - sigma * velocity
    noise = sigma * noisy + signal * velocity
    signal, sigma = _scales(earlier)
    return signal * clean + sigma * noise
