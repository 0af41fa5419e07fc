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
LATEST_S = 14.0


def ray_kills(log: Path, scratch: Path, count: int) -> list[Row]:
    """Check a folder of pictures ``count`` times with a worker killed, and as often with the driver killed."""
    pictures = scratch / "pictures"
    _draw(pictures)
    alone = scratch / "alone.jsonl"
    subprocess.run(_command(pictures, alone), check=True, capture_output=True)
    rows = []
    for name, kill in (("a Ray worker", _kill_worker), ("the process that asked", _kill_driver)):
        draws = random.Random(0)
        hits, equal = 0, 0
        for number in range(count):
            out = scratch / f"{name.split()[-1]}-{number}.jsonl"
            hits += _with_kill(_command(pictures, out, "--ray", "local"), kill, draws.uniform(0, LATEST_S), log)
            equal += out.read_bytes() == alone.read_bytes()
        rows.append(
            Row(
                f"`check --ray`, SIGKILL of {name} at random points: findings as one process makes them",
                "all equal",
                f"{equal} of {count}",
                count,
                equal == count,
                f"{PICTURES} pictures; {hits} of the kills hit before the work was done",
            )
        )
    return rows


def _with_kill(command: list[str], kill: Callable[[int], bool], seconds: float, log: Path) -> bool:
    """Run a command, kill at a point, and run it again until it ends by itself; whether there was something to kill."""
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        time.sleep(seconds)
        hit = process.poll() is None and kill(process.pid)
        if process.wait(600) != 0:
            _end_session(process.pid)
            subprocess.run(command, stdout=file, stderr=file, check=True)
    return hit


def _kill_driver(pid: int) -> bool:
    os.kill(pid, signal.SIGKILL)
    return True


def _kill_worker(pid: int) -> bool:
    """Kill one of the workers that Ray runs for this process; False if there is none yet."""
    workers = [process for process in _session_of(pid) if "ray::" in _title(process)]
    if not workers:
        return False
    os.kill(random.Random(pid).choice(workers), signal.SIGKILL)
    return True


def _end_session(pid: int) -> None:
    """End what a killed driver left behind, as the machine's own supervisor would."""
    for process in _session_of(pid):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _session_of(pid: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and os.getsid(int(folder.name)) == pid:
                found.append(int(folder.name))
        except ProcessLookupError:
            continue
    return found


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
