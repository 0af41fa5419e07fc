"""SIGKILL of a Ray worker, and of the process that asked for the work: ``check --ray`` ends with the same findings."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from latent_guard import shipped
from latent_guard.bench.result_table import Row

PICTURES = 96
WANTED = 20  # kills of each kind
LATEST_S = 10.0


def ray_kills(log: Path, scratch: Path, count: int) -> list[Row]:
    """Check a folder of pictures ``count`` times with a worker killed, and as often with the driver killed."""
    pictures = scratch / "pictures"
    _draw(pictures)
    alone = scratch / "alone.jsonl"
    subprocess.run(_command(pictures, alone), check=True, capture_output=True)
    rows = []
    for name, victims in (("a Ray worker", _workers_of), ("the process that asked", lambda pid: [pid])):
        draws = random.Random(0)
        hits, equal = 0, 0
        for number in range(count):
            out = scratch / f"{name.split()[-1]}-{number}.jsonl"
            hits += _killed(_command(pictures, out, "--ray", "local"), victims, draws, log)
            equal += out.read_bytes() == alone.read_bytes()
        rows.append(
            Row(
                f"`check --ray`, SIGKILL of {name} at random points: findings as one process makes them",
                "all equal",
                f"{equal} of {count}",
                count,
                decided(equal, count),
                f"{PICTURES} pictures; {hits} of the kills hit before the work was done"
                + ("" if count >= WANTED else f"; open: {count} of {WANTED} kills"),
            )
        )
    return rows


def decided(equal: int, count: int) -> bool | None:
    """Whether the row is reached; None before enough were killed, where none was unequal."""
    return None if equal == count < WANTED else equal == count


def _killed(command: list[str], victims: Callable[[int], list[int]], draws: random.Random, log: Path) -> bool:
    """Run a command, kill some time after there is something to kill, and run it again if that ended it.

    Returns:
        Whether the kill came before the command was done.
    """
    hit = False
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
        while process.poll() is None and not victims(process.pid):
            time.sleep(0.05)
        time.sleep(draws.uniform(0, LATEST_S))
        if process.poll() is None and (found := victims(process.pid)):
            os.kill(draws.choice(found), signal.SIGKILL)
            hit = True
        if process.wait(600) != 0:
            subprocess.run(command, stdout=file, stderr=file, check=True)
    return hit


def _workers_of(pid: int) -> list[int]:
    """The workers of a pool that Ray runs for this process."""
    parents = {int(folder.name): _parent_of(folder) for folder in Path("/proc").iterdir() if folder.name.isdigit()}
    return [process for process in parents if "ray::MapWorker" in _title(process) and _descends(process, pid, parents)]


def _descends(process: int, ancestor: int, parents: dict[int, int]) -> bool:
    while process > 1 and process != ancestor:
        process = parents.get(process, 0)
    return process == ancestor


def _parent_of(folder: Path) -> int:
    """0 for a process that has ended meanwhile."""
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _command(pictures: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "latent_guard", "check", str(pictures), "--out", str(out), *options]


def _draw(folder: Path) -> None:
    """Unguarded images of the shipped model."""
    folder.mkdir()
    pipe = shipped.pipeline()
    pipe.set_progress_bar_config(disable=True)
    for first in range(0, PICTURES, 8):
        images = pipe("a pirate party", num_images_per_prompt=8, **shipped.ARGUMENTS).images
        for number, image in enumerate(images):
            image.save(folder / f"{first + number:03}.png")
