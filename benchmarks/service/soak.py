"""Fifty clients at once for some minutes: every answer is that of the same request alone, and memory stays flat."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.service.client import SAFE, UNSAFE, Answer, Ask, asks, client_of, draw
from benchmarks.service.server import Server, running
from latent_guard.bench.result_table import Row

CLIENTS, DIFFERENT = 50, 100
MEMORY = 0.03


@dataclass(frozen=True)
class Soak:
    """What fifty clients saw.

    Attributes:
        answers: of all clients, each with its request.
        memory: (seconds since the beginning, MiB), twice a second.
    """

    answers: list[tuple[Ask, Answer]]
    memory: list[tuple[float, float]]
    minutes: float

    def mean_memory(self, minute: int) -> float:
        """MiB in a minute of the run, counted from 0."""
        return float(np.mean([mib for at, mib in self.memory if 60 * minute <= at < 60 * (minute + 1)]))


def soak(log: Path, minutes: float) -> list[Row]:
    """Run it on the shipped model, then ask each request alone."""
    wanted = asks(DIFFERENT, SAFE, UNSAFE)
    with running(log, "--queue", "64", "--deadline", "600") as server:
        found = _together(server, wanted, minutes)
        with client_of(server.url) as client:
            alone = {ask: draw(client, ask) for ask in {ask for ask, _ in found.answers}}
    return rows_of(found, alone)


def rows_of(found: Soak, alone: dict[Ask, Answer]) -> list[Row]:
    """How many answers were those of the request alone, and how memory changed."""
    other = sum(answer != alone[ask] for ask, answer in found.answers)
    by_status: dict[int, int] = {}
    for _, answer in found.answers:
        by_status[answer.status] = by_status.get(answer.status, 0) + 1
    statuses = ", ".join(f"{count} of status {status}" for status, count in sorted(by_status.items()))
    last = int(found.minutes) - 1
    before, after = found.mean_memory(min(1, last)), found.mean_memory(last)
    change = after / before - 1
    seconds = np.median([answer.seconds for _, answer in found.answers])
    return [
        Row(
            f"{CLIENTS} concurrent requests for {found.minutes:g} minutes: answers that differ from the same alone",
            "0",
            str(other),
            len(found.answers),
            other == 0 and all(answer.status in (200, 400) for _, answer in found.answers),
            f"{statuses}; {len(alone)} different requests; median {seconds:.1f} s",
        ),
        Row(
            "memory of the server, last minute against the second",
            f"within {MEMORY:.0%}",
            f"{change:+.1%}",
            len(found.memory),
            abs(change) <= MEMORY,
            f"{before:.0f} and {after:.0f} MiB",
        ),
    ]


def _together(server: Server, wanted: list[Ask], minutes: float) -> Soak:
    started = time.monotonic()
    end = started + 60 * minutes
    memory: list[tuple[float, float]] = []

    def one(number: int) -> list[tuple[Ask, Answer]]:
        draws = random.Random(number)
        done = []
        with client_of(server.url) as client:
            while time.monotonic() < end:
                ask = draws.choice(wanted)
                done.append((ask, draw(client, ask)))
        return done

    with ThreadPoolExecutor(CLIENTS) as pool:
        futures = [pool.submit(one, number) for number in range(CLIENTS)]
        while time.monotonic() < end:
            memory.append((time.monotonic() - started, server.resident_mib()))
            time.sleep(0.5)
        answers = [pair for future in futures for pair in future.result()]
    return Soak(answers, memory, minutes)
