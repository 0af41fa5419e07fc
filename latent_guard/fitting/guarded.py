"""Guarded generations of jobs, with what their finished images show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.fitting.finished import Observer, Seen, stacked
from latent_guard.fitting.record import BATCH, Job
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import Policy
from latent_guard.guidance.verdict import Verdict


@dataclass(frozen=True)
class GuardedImages:
    """N guarded images: their verdicts, which are unsafe or spoilt, and the uint8 pictures (N, 3, H, W)."""

    verdicts: tuple[Verdict, ...]
    unsafe: tuple[bool, ...]
    spoilt: tuple[bool, ...]
    pictures: Tensor


def run_guarded(
    guard: LatentGuard,
    pipe: Any,
    jobs: Sequence[Job],
    policy: Policy,
    observer: Observer,
    arguments: Mapping[str, Any],
) -> GuardedImages:
    """Generate the image of every job under a policy, and have it seen; there is at least one job."""
    verdicts: list[Verdict] = []
    found: list[Seen] = []
    pictures: list[Tensor] = []
    for start in range(0, len(jobs), BATCH):
        batch = jobs[start : start + BATCH]
        generators = [torch.Generator().manual_seed(job.seed) for job in batch]
        output = guard.generate(
            pipe, [job.prompt for job in batch], policy, generator=generators, output_type="pt", **arguments
        )
        verdicts += output.verdicts
        pictures.append(stacked(list(output.images)))
        found.append(observer.seen(pictures[-1]))
    unsafe = tuple(flag for one in found for flag in one.unsafe.tolist())
    spoilt = tuple(flag for one in found for flag in one.spoilt.tolist())
    return GuardedImages(tuple(verdicts), unsafe, spoilt, torch.cat(pictures))
