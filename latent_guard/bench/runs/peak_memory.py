"""How much memory a piece of work took at its peak: on the GPU where there is one, else what the process held."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20


@dataclass
class Memory:
    """MiB: what was held ``before`` the work, and the ``peak`` while it went on; NaN where the system does not say."""

    before: float = math.nan
    peak: float = math.nan

    @property
    def added(self) -> float:
        """What the work took beyond what was held before it."""
        return self.peak - self.before


@contextmanager
def measured_memory() -> Iterator[Memory]:
    """The block's memory, known once it is over."""
    import torch

    found = Memory()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        found.before = torch.cuda.memory_allocated() / MIB
        yield found
        found.peak = torch.cuda.max_memory_allocated() / MIB
        return
    found.before = _reset()
    yield found
    found.peak = _resident("VmHWM")


def _reset() -> float:
    """Have the system count the peak anew, as Linux can (proc(5)); what is resident now."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # else what earlier work left would be used again, and not be seen
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return math.nan
    return _resident("VmRSS")


def _resident(name: str) -> float:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(lines[name].split()[0]) / 1024
    except (OSError, KeyError, ValueError):
        return math.nan
