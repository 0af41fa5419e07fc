"""Images a second through the service and in a loop of one's own, and what a refused request costs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import torch

from benchmarks.service.client import SAFE, UNSAFE, Ask, asks, client_of, draw
from benchmarks.service.server import Server, running
from latent_guard import shipped
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row

ROUNDS, A_ROUND = 5, 64
LEAST_THROUGHPUT, MOST_OF_ALLOWED = 0.95, 0.4


def speed(log: Path, batch: int) -> list[Row]:
    """Seconds of the same requests three ways, in turn: batched, one by one, and in a loop over ``guard.generate``."""
    wanted = asks(A_ROUND, SAFE)
    pipe, guard = shipped.pipeline(), shipped.guard()
    batches, ones, loops = [], [], []
    with running(log, "--max-batch", str(batch)) as together, running(log, "--max-batch", "1") as single:
        for _ in range(ROUNDS + 1):
            batches.append(_served(together, wanted))
            ones.append(_served(single, wanted))
            started = time.perf_counter()
            for first in range(0, len(wanted), batch):
                part = wanted[first : first + batch]
                generators = [_generator(ask) for ask in part]
                guard.generate(pipe, [ask.prompt for ask in part], generator=generators, **shipped.ARGUMENTS)
            loops.append(time.perf_counter() - started)
    beside = bootstrap.median_ratio(loops[1:], batches[1:])  # the first round warms up
    by_batching = bootstrap.median_ratio(ones[1:], batches[1:])
    note = f"{A_ROUND} requests at once in batches of up to {batch}; medians of {ROUNDS} rounds in turn"
    return [
        Row(
            "images a second, of a loop over guard.generate in batches",
            f">= {LEAST_THROUGHPUT}x",
            f"{beside.value:.2f}x ({beside.low:.2f} to {beside.high:.2f})",
            beside.count,
            beside.value >= LEAST_THROUGHPUT,
            f"{note}; {A_ROUND / sorted(batches[1:])[ROUNDS // 2]:.2f} images a second",
        ),
        Row(
            "images a second, of the service without batches",
            "reported",
            f"{by_batching.value:.2f}x ({by_batching.low:.2f} to {by_batching.high:.2f})",
            by_batching.count,
            True,
            note,
        ),
    ]


def refused(log: Path) -> list[Row]:
    """Seconds of a refused request under the policy ``block``, of those of one that is allowed; one at a time."""
    with running(log, "--policy", "block") as server, client_of(server.url) as client:
        answers = [draw(client, ask) for ask in asks(60, SAFE, UNSAFE)]
    allowed = [answer.seconds for answer in answers[2:] if answer.status == 200]
    blocked = [answer.seconds for answer in answers[2:] if answer.code == "moderation_blocked"]
    pairs = min(len(allowed), len(blocked))
    share = bootstrap.median_ratio(blocked[:pairs], allowed[:pairs])
    return [
        Row(
            "a refused request under `block`: wall time, of an allowed one's",
            f"<= {MOST_OF_ALLOWED}x",
            f"{share.value:.2f}x ({share.low:.2f} to {share.high:.2f})",
            pairs,
            share.value <= MOST_OF_ALLOWED,
            f"{len(blocked)} refused, {len(allowed)} allowed, one at a time",
        )
    ]


def _generator(ask: Ask) -> torch.Generator:
    """The noise of one request, as the service draws it."""
    return torch.Generator().manual_seed(ask.seed)


def _served(server: Server, wanted: list[Ask]) -> float:
    """Seconds until all requests, sent at once by clients that are connected, are answered."""
    with ExitStack() as held, ThreadPoolExecutor(len(wanted)) as pool:
        clients = [held.enter_context(client_of(server.url)) for _ in wanted]
        list(pool.map(lambda client: client.get("/health/live"), clients))
        started = time.perf_counter()
        answers = list(pool.map(draw, clients, wanted))
        seconds = time.perf_counter() - started
    assert all(answer.status in (200, 400) for answer in answers), {answer.status for answer in answers}
    return seconds
