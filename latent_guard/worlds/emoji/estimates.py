"""The generator's own clean-latent estimates: what the guard meets in mid-denoising, and what became of it."""

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
from latent_guard.pipelines.step import Disturb, clean_estimates
from latent_guard.training.data.shards import ShardWriter
from latent_guard.worlds.emoji.autoencoder import decode
from latent_guard.worlds.emoji.captions import ONE, TWO, explicit
from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES
from latent_guard.worlds.emoji.classifiers import EmojiClassifier
from latent_guard.worlds.emoji.pool import to_pictures
from latent_guard.worlds.emoji.prompts import GUIDANCE, STEPS

BATCH = 16
UNORDERED = tuple(wording for wording in TWO if "left" not in wording)


@dataclass(frozen=True)
class Trajectories:
    """Guided clean estimates of N generations at S steps, and what they became.

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
    disturb: Disturb | None = None,
    **arguments: Any,
) -> Trajectories:
    """Generate, one generator an image, and keep every step's clean estimate, as it was before any disturbance."""
    parts = [
        _record_batch(pipe, list(prompts[i : i + BATCH]), seeds[i : i + BATCH], disturb, arguments)
        for i in range(0, len(prompts), BATCH)
    ]
    return joined(parts)


def _record_batch(
    pipe: StableDiffusionPipeline,
    prompts: list[str],
    seeds: Sequence[int],
    disturb: Disturb | None,
    arguments: dict[str, Any],
) -> Trajectories:
    latents = PipelineLatents.of(pipe, LatentSpace.of_vae(pipe.vae), None)
    settings = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, **arguments}
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    with clean_estimates(latents, disturb=disturb) as estimates:
        pipe(prompts, generator=generators, output_type="latent", **settings)
    (_, final), levels = estimates[-1], [level for level, _ in estimates]
    kept = torch.stack([raw.half() for _, raw in estimates], dim=1)
    return Trajectories(kept, torch.tensor(levels), to_pictures(decode(pipe.vae, final)))


def joined(parts: Sequence[Trajectories]) -> Trajectories:
    """Trajectories of the same schedule as one."""
    return Trajectories(
        torch.cat([part.estimates for part in parts]),
        parts[0].noise_levels,
        torch.cat([part.pictures for part in parts]),
    )


def write_estimate_shards(
    folder: Path,
    pixel_folder: Path,
    pipe: StableDiffusionPipeline,
    seen: Trajectories,
    labeller: EmojiClassifier,
    seed: int,
) -> None:
    """Turn trajectories into training shards, in latents and (decoded) in pixels.

    Captions come from what the labeller sees in the finished picture, since a contextual prompt names nothing: the
    object that it sees most clearly, and the second where that is over its threshold.
    """
    rng = np.random.default_rng(seed)
    levels = seen.noise_levels
    probabilities = labeller.probabilities(seen.pictures)
    present = probabilities > labeller.thresholds
    with (
        ShardWriter(folder, LatentSpace.of_vae(pipe.vae)) as latents,
        ShardWriter(pixel_folder, PIXELS) as pixels,
    ):
        for row in range(len(present)):
            first, second = probabilities[row].topk(2).indices.tolist()
            names = [OBJECT_NAMES[i] for i in ((first, second) if present[row, second] else (first,))]
            captions = [_captions(names, rng) for _ in levels]
            clean = seen.estimates[row]
            latents.add(clean, captions, noise_levels=levels)
            pixels.add(decode(pipe.vae, clean.float()).clamp(-1, 1), captions, noise_levels=levels)


def _captions(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    order = list(rng.permutation(names))
    return [explicit([str(name) for name in order], wording) for wording in (ONE if len(names) == 1 else UNORDERED)]
