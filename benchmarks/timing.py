"""Seconds and memory of pieces of work, interleaved, so that what else the machine does meets all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

MIN_RUNS = 3
Work = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds of each run, and the most memory that was allocated on the GPU during one, in GiB (None on a CPU).

    All models of a case are on the GPU at once, so the peaks of two parts differ by what runs, not by whose weights.
    """

    seconds: tuple[float, ...]
    peak_gib: float | None

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))


def in_turns(works: Mapping[str, Work], runs: int, budget_s: float) -> dict[str, Timing]:
    """Each work to warm up, then all of them in turn; three times at least, then until ``budget_s`` is over."""
    for work in works.values():
        work()  # what it allocates once, or compiles, is no part of a peak
    peaks = {name: _peak_of(work) for name, work in works.items()}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    started = time.perf_counter()
    for run in range(runs):
        if run >= MIN_RUNS and time.perf_counter() - started > budget_s:
            break
        for name, work in works.items():
            seconds[name].append(_seconds(work))
    return {name: Timing(tuple(seconds[name]), peaks[name]) for name in works}


def _seconds(work: Work) -> float:
    _wait()
    started = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - started


def _peak_of(work: Work) -> float | None:
    if not torch.cuda.is_available():
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    _seconds(work)
    return torch.cuda.max_memory_allocated() / 2**30


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
