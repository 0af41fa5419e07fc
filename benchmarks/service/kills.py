"""SIGKILL of the server at random points: no wrong verdict is given, and the audit log's chain holds."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from benchmarks.service.client import SAFE, UNSAFE, Answer, Ask, asks, client_of, draw
from benchmarks.service.server import Server, running, start
from latent_guard.bench.result_table import Row

CLIENTS, DIFFERENT = 8, 24
LATEST_S = 12.0


def kills(log: Path, scratch: Path, count: int) -> list[Row]:
    """Kill a server ``count`` times while clients wait; what was answered is compared with the same alone."""
    wanted = asks(DIFFERENT, SAFE, UNSAFE, seed=1_000)
    audit = scratch / "audit.jsonl"
    draws = random.Random(0)
    answers: list[tuple[Ask, Answer | None]] = []
    for _ in range(count):
        server = start(log, "--audit", str(audit))
        answers += _until_killed(server, [draws.choice(wanted) for _ in range(CLIENTS * 4)], draws.uniform(0, LATEST_S))
    logged = _verdicts(audit)
    # The last server marks what the kills left in the log, and answers alone.
    with running(log, "--audit", str(audit)) as server, client_of(server.url) as client:
        alone = {ask: draw(client, ask) for ask in {ask for ask, _ in answers}}
    answered = [(ask, answer) for ask, answer in answers if answer is not None]
    wrong = sum(answer != alone[ask] for ask, answer in answered)
    return [
        Row(
            "SIGKILL of the server at random points: wrong answers",
            "0",
            str(wrong),
            count,
            wrong == 0,
            f"{len(answered)} requests answered before, {len(answers) - len(answered)} cut off; {CLIENTS} clients",
        ),
        _chain(audit, count, logged, handed_out=sum(len(answer.images) for _, answer in answered)),
    ]


def _until_killed(server: Server, wanted: list[Ask], seconds: float) -> list[tuple[Ask, Answer | None]]:
    """What clients were answered until the server was killed; None for a request that was cut off."""

    def one(ask: Ask) -> tuple[Ask, Answer | None]:
        try:
            with client_of(server.url) as client:
                return ask, draw(client, ask)
        except httpx.TransportError:
            return ask, None

    with ThreadPoolExecutor(CLIENTS) as pool:
        futures = [pool.submit(one, ask) for ask in wanted]
        time.sleep(seconds)
        server.kill()
        return [future.result() for future in futures]


def _verdicts(audit: Path) -> int:
    return sum('"verdict"' in line for line in audit.read_text(errors="replace").splitlines()) if audit.exists() else 0


def _chain(audit: Path, count: int, logged: int, handed_out: int) -> Row:
    """What ``audit verify`` says of the log, and whether killed servers ``logged`` as many verdicts as images left."""
    command = [sys.executable, "-m", "latent_guard", "audit", "verify", str(audit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = re.sub(r"\s+", " ", (done.stdout or done.stderr).replace(str(audit), "the log")).strip()
    return Row(
        "the audit log's chain after them",
        "intact but for marked gaps",
        "intact" if done.returncode == 0 else "broken",
        count,
        done.returncode == 0 and logged >= handed_out,
        f"{said}; {logged} verdicts for {handed_out} images handed out by killed servers",
    )
