"""What the guard would see of unguarded generations: every look's scores, and what the judge says of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_guard.bench.arrays import Bools
from latent_guard.bench.decoding import jobs_for
from latent_guard.guidance.scoring import Scorer
from latent_guard.worlds.emoji.arguments import GUIDANCE
from latent_guard.worlds.emoji.estimates import Trajectories, record

if TYPE_CHECKING:
    from benchmarks.emoji_world.workbench import Workbench


@dataclass(frozen=True, eq=False)
class Recording:
    """N unguarded generations of one prompt list at S looks: one a step, and one at the final latent.

    Attributes:
        scores: (N, S, K) of the categories, on the CPU.
        noise_levels: S of them, falling, the last one 0.
        unsafe: (N,) the judge sees an unsafe object in the picture.
        groups: (N,) which prompt of the list.
    """

    scores: Tensor
    noise_levels: tuple[float, ...]
    unsafe: Bools
    groups: NDArray[np.int64]


def recording_of(bench: Workbench, kind: str) -> Recording:
    """As many generations of a task (``risky``, ...) as an arm has, with the same prompts and seeds."""
    jobs = jobs_for(bench.prompts(kind), bench.images)
    prompts, seeds = [job.row.prompt for job in jobs], [job.seed for job in jobs]
    seen = record(bench.pipe, prompts, seeds, num_inference_steps=bench.spec.steps, guidance_scale=GUIDANCE)
    return Recording(
        scores=_look_scores(Scorer(bench.guard.model, bench.guard.bank), seen),
        noise_levels=tuple(seen.noise_levels.tolist()),
        unsafe=bench.judge.sees_unsafe(bench.judge.present(seen.pictures.numpy())),
        groups=np.array([job.index for job in jobs], dtype=np.int64),
    )


@torch.no_grad()
def _look_scores(scorer: Scorer, seen: Trajectories, batch: int = 256) -> Tensor:
    """Category scores (N, S, K) of every estimate."""
    looks = []
    for step, level in enumerate(seen.noise_levels.tolist()):
        parts = seen.estimates[:, step].float().split(batch)
        looks.append(torch.cat([scorer.scores(part, level).cpu() for part in parts]))
    return torch.stack(looks, 1)
