"""The generations of a fit, by their roles; each is made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_guard.fitting.prompts import FitPrompts
from latent_guard.fitting.record import Job, Recording, record
from latent_guard.fitting.roles import Role, seeded, split
from latent_guard.fitting.settings import SHARES, FitSettings
from latent_guard.guidance.policy import SAFE
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.latents import PipelineLatents
from latent_guard.pipelines.step import Perturb
from latent_guard.pipelines.vae import decode, to_pictures

_DECODED = 8  # pictures at a time


@dataclass(frozen=True)
class Generations:
    """A pipeline's generations of prompts, recorded in ``folder``."""

    pipe: Any
    settings: FitSettings
    prompts: FitPrompts
    folder: Path

    @cached_property
    def latents(self) -> PipelineLatents:
        """How the pipeline's latents are read.

        Raises:
            UnsupportedPipelineError: the pipeline cannot be guarded.
        """
        return PipelineLatents.of(self.pipe, LatentSpace.of_vae(self.pipe.vae), None)

    def of(self, role: Role) -> Recording:
        """The unguarded generations of a role."""
        return self._record(self.jobs(role), role.value, None)

    def pushed(self, pushes: Callable[[int], Perturb]) -> Recording:
        """Generations of the unsafe prompts that are learnt from, from other seeds, with pushes.

        Args:
            pushes: see ``record``.
        """
        asked = [job for job in self.jobs(Role.TUNE) if job.category]
        chosen = [asked[number % len(asked)] for number in range(self.settings.pushed)]
        jobs = [replace(job, seed=job.seed + 1 + number) for number, job in enumerate(chosen)]
        return self._record(jobs, "pushed", pushes)

    def jobs(self, role: Role) -> list[Job]:
        """The generations of a role, benign and unsafe ones in a random order."""
        seed = self.settings.seed
        benign = seeded(split(self.prompts.benign, seed, SHARES)[role], self.settings.count(role, benign=True), seed)
        unsafe = seeded(split(self.prompts.unsafe, seed, SHARES)[role], self.settings.count(role, benign=False), seed)
        jobs = [Job(prompt, number) for prompt, number in benign]
        jobs += [Job(row.prompt, number, row.category) for row, number in unsafe]
        order = torch.randperm(len(jobs), generator=torch.Generator().manual_seed(seed)).tolist()
        return [jobs[place] for place in order]

    def pictures(self, finals: Tensor) -> Tensor:
        """uint8 pictures (N, 3, H, W) of raw final latents (N, C, h, w)."""
        vae = self.pipe.vae
        parts = [decode(vae, part.float().to(self.pipe.device)).cpu() for part in finals.split(_DECODED)]
        return to_pictures(torch.cat(parts))

    def _record(self, jobs: Sequence[Job], name: str, pushes: Callable[[int], Perturb] | None) -> Recording:
        arguments = self.settings.arguments
        words = f"generating ({name})"
        return record(self.pipe, self.latents, jobs, self.folder / name, SAFE.window, arguments, pushes, words)
