"""Recordings: unguarded generations, with the raw clean estimates of the steps at which a guard may look.

Shapes: N generations, S looks (steps of the window, and the final latents last), C latent channels, H and W positions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from latent_guard.building import build
from latent_guard.errors import GuardError, InputError
from latent_guard.files.atomic import atomic_file, write_atomic
from latent_guard.files.documents import read_json
from latent_guard.pipelines.latents import PipelineLatents
from latent_guard.pipelines.step import Perturb, clean_estimates
from latent_guard.terminal import track

BATCH = 16
JOBS = "jobs.json"
NoiseWindow = tuple[float, float]  # highest and lowest noise level


@dataclass(frozen=True)
class Job:
    """One generation: a prompt, a seed, and the category that the prompt asks for; "" for a benign one."""

    prompt: str
    seed: int
    category: str = ""


@dataclass(frozen=True)
class _Jobs:
    """What ``jobs.json`` holds."""

    jobs: tuple[Job, ...]

    def __post_init__(self) -> None:
        if not self.jobs:
            raise InputError("a recording needs at least one prompt")


@dataclass(frozen=True)
class Recording:
    """What a folder of recordings holds; its tensors stay in their files until they are read.

    Attributes:
        jobs: the N generations.
        noise_levels: (S,), falling; the last is 0, of the final latents.
        shards: files of at most ``BATCH`` generations each, in the order of ``jobs``.
    """

    jobs: tuple[Job, ...]
    noise_levels: Tensor
    shards: tuple[Path, ...]

    @classmethod
    def open(cls, folder: Path) -> Recording:
        """Open a finished recording.

        Raises:
            InputError: it is not finished, or its files are not what was written.
        """
        jobs = build(_Jobs, read_json(folder / JOBS, "the recording"), str(folder / JOBS)).jobs
        shards = tuple(_shard(folder, start) for start in range(0, len(jobs), BATCH))
        if missing := next((shard for shard in shards if not shard.exists()), None):
            raise InputError(f"{folder} has no {missing.name}; run the same command again to record it")
        with safe_open(shards[0], framework="pt") as file:
            return cls(jobs, file.get_tensor("noise_levels"), shards)

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def folder(self) -> Path:
        """Where the recording lies."""
        return self.shards[0].parent

    @property
    def asked(self) -> Tensor:
        """Which images (N,) are of unsafe prompts."""
        return torch.tensor([bool(job.category) for job in self.jobs])

    def batches(self, look: int | None = None) -> list[Tensor]:
        """Raw latents of each shard, float16: (B, S, C, H, W), or of one look (B, C, H, W); -1 is the final one."""
        parts = []
        for shard in self.shards:
            with safe_open(shard, framework="pt") as file:
                latents = file.get_slice("latents")
                parts.append(latents[:] if look is None else latents[:, look % len(self.noise_levels)])
        return parts


def record(
    pipe: Any,
    latents: PipelineLatents,
    jobs: Sequence[Job],
    folder: Path,
    window: NoiseWindow,
    arguments: Mapping[str, Any],
    perturb_of: Callable[[int], Perturb] | None = None,
    words: str = "recording",
) -> Recording:
    """Generate an image of every job, each from its own seed, and keep what a guard would see on the way.

    What was recorded before is not made again.

    Args:
        pipe: the pipeline, unguarded.
        latents: how its latents are read.
        jobs: what to generate.
        folder: where the recording goes.
        window: noise levels at which estimates are kept.
        arguments: of the pipeline's call.
        perturb_of: gives, for the number of a shard's first job, what changes its estimates on the way.
        words: what the progress bar says.

    Raises:
        InputError: the folder holds the recording of other jobs, or the disk is full.
        GuardError: the call took no step, or its latents are not finite.
    """
    _require_same_jobs(folder, jobs)
    starts = [start for start in range(0, len(jobs), BATCH) if not _shard(folder, start).exists()]
    for start in track(starts, words):
        perturb = perturb_of(start) if perturb_of is not None else None
        tensors = _generate(pipe, latents, jobs[start : start + BATCH], window, arguments, perturb)
        with atomic_file(_shard(folder, start)) as partial:
            save_file(tensors, partial)
    return Recording.open(folder)


def _require_same_jobs(folder: Path, jobs: Sequence[Job]) -> None:
    wanted = _Jobs(tuple(jobs))
    path = folder / JOBS
    if not path.exists():
        write_atomic(path, json.dumps(asdict(wanted), ensure_ascii=False).encode())
    elif build(_Jobs, read_json(path, "the recording"), str(path)) != wanted:
        raise InputError(f"{folder} holds the recording of other prompts; give another folder, or remove this one")


def _generate(
    pipe: Any,
    latents: PipelineLatents,
    jobs: Sequence[Job],
    window: NoiseWindow,
    arguments: Mapping[str, Any],
    perturb: Perturb | None,
) -> dict[str, Tensor]:
    generators = [torch.Generator().manual_seed(job.seed) for job in jobs]
    high, low = window
    kept = (
        torch.no_grad(),
        clean_estimates(latents, lambda level: low <= level <= high, perturb, lambda raw, _: raw.detach().half().cpu()),
    )
    with kept[0], kept[1] as seen:
        pipe([job.prompt for job in jobs], generator=generators, output_type="latent", **arguments)
    if not seen:
        raise GuardError("the pipeline's call took no step; nothing was recorded")
    levels = torch.tensor([level for level, _ in seen])
    fresh = torch.cat([torch.ones(1, dtype=torch.bool), levels.diff() < 0])  # PNDM is twice at one noise level
    stacked = torch.stack([raw for _, raw in seen], dim=1)[:, fresh]
    if not bool(stacked.isfinite().all()):
        raise GuardError(
            "the pipeline's latents are not finite in half precision; load it in bfloat16 or float32 and fit again"
        )
    return {"latents": stacked.contiguous(), "noise_levels": levels[fresh]}


def _shard(folder: Path, start: int) -> Path:
    return folder / f"{start:06d}.safetensors"
