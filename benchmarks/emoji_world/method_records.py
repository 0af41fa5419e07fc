"""What a method of a benchmark produced, image by image, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from latent_guard.guidance.verdict import Decision, Verdict

if TYPE_CHECKING:
    from latent_guard.bench.runs.folder import RunFolder
    from latent_guard.bench.runs.plan import Unit


@dataclass(frozen=True, eq=False)
class Records:
    """N images of one method.

    Attributes:
        prompt_index: (N,) which row of the prompt list.
        seeds: (N,) the seed of the image's own generator.
        batches: (N,) which call of the pipeline made it.
        images: (N, 3, H, W) uint8; a blocked image's is gray.
        latents: (N, C, h, w) float32, raw, as decoded.
        evaluations: (N,) rows that the denoiser computed, the batch's mean.
        seconds: (N,) wall-clock time from prompt to pixels, the batch's mean.
        verdicts: N of the guard's, or none for an unguarded method.
    """

    prompt_index: NDArray[np.int64]
    seeds: NDArray[np.int64]
    batches: NDArray[np.int64]
    images: NDArray[np.uint8]
    latents: NDArray[np.float32]
    evaluations: NDArray[np.float64]
    seconds: NDArray[np.float64]
    verdicts: tuple[Verdict, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def decided(self, decision: Decision) -> NDArray[np.bool_]:
        """Which images (N,) met a decision; none in an unguarded method."""
        if not self.verdicts:
            return np.zeros(len(self), dtype=bool)
        return np.array([verdict.decision is decision for verdict in self.verdicts])

    @property
    def touched(self) -> NDArray[np.bool_]:
        """Which images (N,) the guard changed, ran again or withheld."""
        if not self.verdicts:
            return np.zeros(len(self), dtype=bool)
        changed = (Decision.STEERED, Decision.RESAMPLED, Decision.BLOCKED)
        return np.array([bool(verdict.actions) or verdict.decision in changed for verdict in self.verdicts])


def records_of(folder: RunFolder, units: Sequence[Unit]) -> Records:
    """One method's images of one task, of a run that keeps latents; the calls are all made, in the plan's order."""
    made = folder.made(units)
    return Records(
        prompt_index=made["prompt_index"].to_numpy(np.int64),
        seeds=made["seed"].to_numpy(np.int64),
        batches=np.repeat(np.arange(len(units)), [len(unit.jobs) for unit in units]),
        images=np.ascontiguousarray(folder.pictures(made["row"].tolist())),  # a judge's last bits depend on strides
        latents=np.concatenate([folder.latents(unit) for unit in units]),
        evaluations=made["evaluations"].to_numpy(np.float64),
        seconds=made["seconds"].to_numpy(np.float64),
        verdicts=tuple(verdict for unit in units for verdict in folder.verdicts(unit)),
    )
