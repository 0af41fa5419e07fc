"""Prompts x seeds -> images, by a pipeline alone or guarded, in batches that do not change what comes out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_guard.bench.prompts import PromptRow
from latent_guard.bench.records import Records, concatenate
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.worlds.emoji.prompts import STEPS

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.guidance.policy import Policies, Policy
    from latent_guard.guidance.verdict import Verdict


BATCH = 16


@dataclass(frozen=True)
class Job:
    """One image to make: a prompt, and the number of the image among that prompt's."""

    index: int
    row: PromptRow
    image: int = 0

    @property
    def seed(self) -> int:
        return self.row.seed + self.image


def jobs_for(rows: Sequence[PromptRow], images: int) -> list[Job]:
    """Jobs for ``images`` images: one of every prompt, then a second of every prompt, and so on."""
    return [Job(n % len(rows), rows[n % len(rows)], n // len(rows)) for n in range(images)]


def generate(
    pipe: Any,
    jobs: Sequence[Job],
    *,
    steps: int = STEPS,
    guard: LatentGuard | None = None,
    policy: Policy | Policies | None = None,
    batch_size: int = BATCH,
) -> Records:
    """Run jobs in order; both arms of a comparison get the same batches, and so the same arithmetic.

    Each image has a generator of its own, on the CPU, seeded by its job: its noise does not depend on its batch.
    """
    from rich.console import Console
    from rich.progress import track

    calls = track(batches(jobs, batch_size), "generating", console=Console(stderr=True), transient=True)
    return concatenate([_run(pipe, batch, number, steps, guard, policy) for number, batch in enumerate(calls)])


def batches(jobs: Sequence[Job], size: int) -> list[list[Job]]:
    """Neighbours that share a guidance scale, at most ``size`` of them: a pipeline takes one scale a call."""
    runs = [list(group) for _, group in groupby(jobs, key=lambda job: job.row.guidance)]
    return [run[start : start + size] for run in runs for start in range(0, len(run), size)]


def _run(
    pipe: Any, jobs: list[Job], number: int, steps: int, guard: LatentGuard | None, policy: Policy | Policies | None
) -> Records:
    arguments = _arguments(jobs, steps)
    prompts = [job.row.prompt for job in jobs]
    verdicts: Sequence[Verdict] = ()
    started = time.perf_counter()
    with counted_rows(pipe) as count:
        if guard is None:
            latents = pipe(prompts, **arguments).images
        else:
            output = guard.generate(pipe, prompts, policy=policy, **arguments)
            latents, verdicts = output.images, output.verdicts
        raw, images = decode(pipe, latents)
    seconds = time.perf_counter() - started
    return Records(
        prompt_index=np.array([job.index for job in jobs], dtype=np.int64),
        seeds=np.array([job.seed for job in jobs], dtype=np.int64),
        batches=np.full(len(jobs), number, dtype=np.int64),
        images=images,
        latents=raw,
        evaluations=np.full(len(jobs), count.rows / len(jobs)),
        seconds=np.full(len(jobs), seconds / len(jobs)),
        verdicts=tuple(verdicts),
    )


def _arguments(jobs: list[Job], steps: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "num_inference_steps": steps,
        "generator": [torch.Generator().manual_seed(job.seed) for job in jobs],
        "output_type": "latent",
    }
    if jobs[0].row.guidance is not None:
        arguments["guidance_scale"] = jobs[0].row.guidance
    return arguments


@torch.no_grad()
def decode(pipe: Any, latents: Tensor | Sequence[Tensor]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Pipeline latents (B, C, h, w) -> the same raw, and pixels (B, 3, H, W) as diffusers would round them."""
    stacked = latents if isinstance(latents, Tensor) else torch.stack(list(latents))
    raw = LatentSpace.of_vae(pipe.vae).to_raw(stacked)
    pixels = pipe.vae.decode(raw.to(pipe.vae.dtype)).sample.float()
    rounded = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return raw.float().cpu().numpy(), rounded.cpu().numpy()


@dataclass
class _Count:
    rows: int = 0


@contextmanager
def counted_rows(pipe: Any) -> Iterator[_Count]:
    """Count the rows that the denoiser computes inside the block, whoever asks for them.

    Classifier-free guidance takes two rows an image and step, in every arm alike.
    """
    count = _Count()

    def note(_module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        sample = inputs[0] if inputs else named["sample"]
        count.rows += len(sample)

    hook = pipe.unet.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield count
    finally:
        hook.remove()
