"""Training of the pseudo-labeller and the judge on renders and VAE round trips, each with its own augmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as nnf

from latent_guard.devices import best_device
from latent_guard.pipelines.vae import to_model_range, to_pictures
from latent_guard.worlds.emoji.autoencoder import decode, encode
from latent_guard.worlds.emoji.classifiers import NETWORKS, EmojiClassifier, targets_of, thresholds_at
from latent_guard.worlds.emoji.loop import LoopSettings, fit
from latent_guard.worlds.emoji.pool import Pool, draw_pool
from latent_guard.worlds.emoji.scenes import FULL

BATCH = 64
ROUND_TRIP_NOISE = 0.3


@dataclass(frozen=True)
class ClassifierPreset:
    """The settings in which the two classifiers differ."""

    architecture: str
    seed: int
    keep_held_out: bool
    augment: Callable[[Tensor, torch.Generator], Tensor]


def soften(images: Tensor, generator: torch.Generator) -> Tensor:
    """Augment for the pseudo-labeller: random Gaussian blur on half the images, pixel noise, channel gains."""
    width = float(torch.rand(1, generator=generator)) * 1.2 + 0.3
    half = len(images) // 2
    blurred = torch.cat([_blur(images[:half], width), images[half:]])
    gains = 1 + 0.2 * (torch.rand((len(images), 3, 1, 1), generator=generator) - 0.5)
    noise = (
        torch.randn(images.shape, generator=generator) * 0.15 * torch.rand((len(images), 1, 1, 1), generator=generator)
    )
    return (blurred * gains + noise).clamp(-1, 1)


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Augment for the judge: lower resolution on a third of the images, contrast and brightness, coarse noise."""
    third = len(images) // 3
    small = nnf.interpolate(images[:third], scale_factor=0.5, mode="area")
    coarse = torch.cat([nnf.interpolate(small, scale_factor=2, mode="bilinear"), images[third:]])
    contrast = 1 + 0.3 * (torch.rand((len(images), 1, 1, 1), generator=generator) - 0.5)
    shift = 0.2 * (torch.rand((len(images), 3, 1, 1), generator=generator) - 0.5)
    grain = nnf.interpolate(torch.randn((len(images), 3, 16, 16), generator=generator), scale_factor=4, mode="bilinear")
    return (coarse * contrast + shift + 0.12 * grain).clamp(-1, 1)


PSEUDO_LABELLER = ClassifierPreset("mixer", 2101, False, soften)
JUDGE = ClassifierPreset("residual", 3301, True, degrade)


def train_classifier(
    folder: Path, vae: AutoencoderKL, preset: ClassifierPreset, settings: LoopSettings, *, seed: int, scenes: int
) -> EmojiClassifier:
    """Train on renders, a fifth of them through the VAE, then set thresholds on fresh renders."""
    seed = 10_000 * seed + preset.seed
    torch.manual_seed(seed)
    device = torch.device(best_device())
    network = NETWORKS[preset.architecture]().to(device).to(memory_format=torch.channels_last)
    pool = draw_pool(seed, scenes, FULL, keep_held_out=preset.keep_held_out)
    pictures, targets = with_round_trips(pool, vae, seed)

    def loss_at(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.randint(len(pictures), (BATCH,), generator=generator)
        images = preset.augment(to_model_range(pictures[rows]), generator)
        logits = network(images.to(device, memory_format=torch.channels_last)).float()
        loss = nnf.binary_cross_entropy_with_logits(logits, targets[rows].to(device), reduction="none")
        return loss.sum(1).mean()

    fit(network, loss_at, settings, folder)
    network = network.cpu()
    classifier = EmojiClassifier(preset.architecture, network, torch.full((targets.shape[1],), 0.5))
    classifier.thresholds = thresholds_on_renders(classifier, vae, preset, seed + 1, max(scenes // 8, 64))
    return classifier


def thresholds_on_renders(
    classifier: EmojiClassifier, vae: AutoencoderKL, preset: ClassifierPreset, seed: int, scenes: int
) -> Tensor:
    """Set thresholds on fresh scenes like those of training: some through the VAE, all augmented."""
    pool = draw_pool(seed, scenes, FULL, keep_held_out=preset.keep_held_out)
    pictures, targets = with_round_trips(pool, vae, seed)
    augmented = preset.augment(to_model_range(pictures), torch.Generator().manual_seed(seed))
    return thresholds_at(classifier.probabilities(to_pictures(augmented)), targets)


def with_round_trips(pool: Pool, vae: AutoencoderKL, seed: int) -> tuple[Tensor, Tensor]:
    """Return the pool's pictures followed by VAE round trips of its first quarter, and targets for both."""
    part = len(pool) // 4
    latents = encode(vae, pool.pictures[:part])
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
    amount = torch.rand((part, 1, 1, 1), generator=torch.Generator().manual_seed(seed + 1)) * ROUND_TRIP_NOISE
    decoded = to_pictures(decode(vae, latents + amount * noise))
    targets = targets_of(pool)
    return torch.cat([pool.pictures, decoded]), torch.cat([targets, targets[:part]])


def _blur(images: Tensor, width: float) -> Tensor:
    taps = torch.arange(-3, 4, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (taps / width).square())
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, 7)
    padded = nnf.pad(images, (3, 3, 3, 3), mode="replicate")
    return nnf.conv2d(nnf.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)
