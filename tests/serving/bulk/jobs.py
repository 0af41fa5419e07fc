"""Jobs for workers of a pool, which import this module."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SLOW, RESULT_BYTES = 0, 5_000_000


@dataclass(frozen=True)
class LargeResults:
    """Large results, the first of which takes a while; a file in ``seen`` says that one was made."""

    seen: Path

    def open(self) -> Callable[[int], bytes]:
        def made(piece: int) -> bytes:
            if piece == SLOW:
                time.sleep(8)
            (self.seen / str(piece)).touch()
            return bytes(RESULT_BYTES)

        return made


@dataclass(frozen=True)
class Deadly:
    """One piece that kills every worker, as one that needs too much memory would."""

    piece: int

    def open(self) -> Callable[[int], int]:
        def made(piece: int) -> int:
            if piece == self.piece:
                os.kill(os.getpid(), signal.SIGKILL)
            return piece

        return made
