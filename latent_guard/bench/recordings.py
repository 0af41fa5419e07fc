"""What the guard would see of unguarded generations: every look's scores, and what the judge says of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latent_guard.bench.generate import jobs_for
from latent_guard.bench.judge import Bools, sees_unsafe
from latent_guard.bench.prompts import read_prompts
from latent_guard.worlds.emoji.calibrate import look_scores
from latent_guard.worlds.emoji.estimates import record
from latent_guard.worlds.emoji.prompts import GUIDANCE, PROMPTS

if TYPE_CHECKING:
    from latent_guard.bench.workbench import Workbench


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
    """As many generations of a prompt list (``risky``, ...) as an arm has, with the same prompts and seeds."""
    rows = read_prompts(PROMPTS / f"{bench.settings.split}_{kind}.csv")
    jobs = jobs_for(rows, bench.settings.images)
    prompts, seeds = [job.row.prompt for job in jobs], [job.seed for job in jobs]
    seen = record(bench.pipe, prompts, seeds, num_inference_steps=bench.settings.steps, guidance_scale=GUIDANCE)
    return Recording(
        scores=look_scores(bench.guard.model, bench.guard.bank, seen).cpu(),
        noise_levels=tuple(seen.noise_levels.tolist()),
        unsafe=sees_unsafe(bench.judge, bench.judge.present(seen.pictures.numpy())),
        groups=np.array([job.index for job in jobs], dtype=np.int64),
    )
