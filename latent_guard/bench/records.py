"""What an arm of a benchmark produced, image by image, in one file that a later run can go on from."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from latent_guard.guidance.verdict import Decision, Verdict
from latent_guard.whole_files import write_whole

_ARRAYS = ("prompt_index", "seeds", "batches", "images", "latents", "evaluations", "seconds")


@dataclass(frozen=True, eq=False)
class Records:
    """N images of one arm.

    Attributes:
        prompt_index: (N,) which row of the prompt list.
        seeds: (N,) the seed of the image's own generator.
        batches: (N,) which call of the pipeline made it.
        images: (N, 3, H, W) uint8; a blocked image's is neutral.
        latents: (N, C, h, w) float32, raw, as decoded.
        evaluations: (N,) rows that the denoiser computed, the batch's mean.
        seconds: (N,) wall-clock time from prompt to pixels, the batch's mean.
        verdicts: N of the guard's, or none for an unguarded arm.
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
        """Which images (N,) met a decision; none in an unguarded arm."""
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

    def save(self, path: Path, key: dict[str, Any]) -> None:
        """Write everything into one file; ``key`` says what made it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            key=np.array(json.dumps(key, sort_keys=True)),
            verdicts=np.array([verdict.to_json() for verdict in self.verdicts], dtype=np.str_),
            **{name: getattr(self, name) for name in _ARRAYS},
        )
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path, key: dict[str, Any]) -> Records | None:
        """What ``save`` wrote, or None where there is none, a broken one, or one that something else made."""
        try:
            with np.load(path, allow_pickle=False) as file:
                if str(file["key"]) != json.dumps(key, sort_keys=True):
                    return None
                verdicts = tuple(Verdict.from_json(str(line)) for line in file["verdicts"])
                return cls(verdicts=verdicts, **{name: file[name] for name in _ARRAYS})
        except (OSError, ValueError, KeyError, BadZipFile):
            return None


def concatenate(parts: Sequence[Records]) -> Records:
    """Records of several calls as one."""
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    return Records(verdicts=tuple(verdict for part in parts for verdict in part.verdicts), **arrays)
