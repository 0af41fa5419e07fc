"""The generator's clean estimates during denoising, as the guard reads them, with the images that they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from latent_guard.latent_clip.latent_space import PIXELS, LatentSpace
from latent_guard.pipelines.latents import PipelineLatents
from latent_guard.pipelines.step import Perturb, clean_estimates
from latent_guard.pipelines.vae import to_pictures
from latent_guard.training.data.shards import ShardWriter
from latent_guard.worlds.emoji.arguments import ARGUMENTS
from latent_guard.worlds.emoji.autoencoder import decode
from latent_guard.worlds.emoji.captions import ONE, TWO, explicit
from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES
from latent_guard.worlds.emoji.classifiers import EmojiClassifier

BATCH = 16
UNORDERED = tuple(template for template in TWO if "left" not in template)


@dataclass(frozen=True)
class Trajectories:
    """The guided clean estimates of N generations at S steps, and the images that they became.

    Attributes:
        estimates: raw latents, float16 (N, S, C, H, W); the last entry of S is the final latent.
        noise_levels: (S,) falling, the last one 0.
        pictures: (N, 3, 64, 64) uint8.
    """

    estimates: Tensor
    noise_levels: Tensor
    pictures: Tensor


def record(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    perturb: Perturb | None = None,
    **arguments: Any,
) -> Trajectories:
    """Generate images, one generator each, and keep every step's clean estimate, as it was before ``perturb``."""
    parts = [
        _record_batch(pipe, list(prompts[i : i + BATCH]), seeds[i : i + BATCH], perturb, arguments)
        for i in range(0, len(prompts), BATCH)
    ]
    return joined(parts)


def _record_batch(
    pipe: StableDiffusionPipeline,
    prompts: list[str],
    seeds: Sequence[int],
    perturb: Perturb | None,
    arguments: dict[str, Any],
) -> Trajectories:
    latents = PipelineLatents.of(pipe, LatentSpace.of_vae(pipe.vae), None)
    settings = {**ARGUMENTS, **arguments}
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    with clean_estimates(latents, perturb=perturb) as estimates:
        pipe(prompts, generator=generators, output_type="latent", **settings)
    (_, final), levels = estimates[-1], [level for level, _ in estimates]
    kept = torch.stack([raw.half() for _, raw in estimates], dim=1)
    return Trajectories(kept, torch.tensor(levels), to_pictures(decode(pipe.vae, final)))


def joined(parts: Sequence[Trajectories]) -> Trajectories:
    """Concatenate trajectories of the same schedule."""
    return Trajectories(
        torch.cat([part.estimates for part in parts]),
        parts[0].noise_levels,
        torch.cat([part.pictures for part in parts]),
    )


def write_estimate_shards(
    folder: Path,
    pixel_folder: Path,
    pipe: StableDiffusionPipeline,
    trajectories: Trajectories,
    pseudo_labeller: EmojiClassifier,
    seed: int,
) -> None:
    """Write trajectories as training shards, in latents and (decoded) in pixels.

    Since a contextual prompt names no object, captions name those that the pseudo-labeller finds in the finished
    picture: the most probable one, and the second if it is over its threshold.
    """
    rng = np.random.default_rng(seed)
    levels = trajectories.noise_levels
    probabilities = pseudo_labeller.probabilities(trajectories.pictures)
    present = probabilities > pseudo_labeller.thresholds
    with (
        ShardWriter(folder, LatentSpace.of_vae(pipe.vae)) as latents,
        ShardWriter(pixel_folder, PIXELS) as pixels,
    ):
        for row in range(len(present)):
            first, second = probabilities[row].topk(2).indices.tolist()
            names = [OBJECT_NAMES[i] for i in ((first, second) if present[row, second] else (first,))]
            captions = [_captions(names, rng) for _ in levels]
            clean = trajectories.estimates[row]
            latents.add(clean, captions, noise_levels=levels)
            pixels.add(decode(pipe.vae, clean.float()).clamp(-1, 1), captions, noise_levels=levels)


def _captions(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    order = list(rng.permutation(names))
    templates = ONE if len(names) == 1 else UNORDERED
    return [explicit([str(name) for name in order], template) for template in templates]
