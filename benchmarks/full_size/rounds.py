"""Seconds and memory of pieces of work, in turn, for as long as the clock allows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from benchmarks.timing import Timing, Work


class OutOfTimeError(Exception):
    """What is left of the time is too short for what was to be measured next."""


@dataclass(frozen=True)
class Clock:
    """When everything must have ended, by ``time.monotonic``."""

    ends: float

    @classmethod
    def of(cls, minutes: float) -> Clock:
        """A clock that starts now."""
        return cls(time.monotonic() + 60 * minutes)

    def allows(self, seconds: float) -> bool:
        """True if so much is left."""
        return time.monotonic() + seconds <= self.ends

    def require(self, seconds: float) -> None:
        """Raise ``OutOfTimeError`` unless so much is left."""
        if not self.allows(seconds):
            raise OutOfTimeError(f"{max(self.ends - time.monotonic(), 0):.0f} s were left, {seconds:.0f} s are needed")


def in_rounds(works: Mapping[str, Work], rounds: int, clock: Clock) -> dict[str, Timing]:
    """All works in turn, warm already, so that what else the machine does meets all alike; one round at least."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    peaks: dict[str, float | None] = dict.fromkeys(works)
    longest = 0.0
    for _ in range(rounds):
        if longest and not clock.allows(longest):
            break
        for name, work in works.items():
            taken, peak = timed(work)
            seconds[name].append(taken)
            peaks[name] = peak if peak is None else max(peak, peaks[name] or 0.0)
        longest = max(longest, sum(taken[-1] for taken in seconds.values()))
    return {name: Timing(tuple(seconds[name]), peaks[name]) for name in works}


def timed(work: Work) -> tuple[float, float | None]:
    """Seconds of one run, and the most GiB that were allocated on the GPU meanwhile; None on a CPU."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    work()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - started, torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None


def without(timing: Timing, gib: float) -> Timing:
    """The timing of work beside which weights lay on the GPU that it has no need of."""
    return timing if timing.peak_gib is None else replace(timing, peak_gib=timing.peak_gib - gib)
