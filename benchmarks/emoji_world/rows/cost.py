"""Rows about seconds; nothing else should run while they are taken."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.emoji_world.workbench import Workbench
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row, not_measured
from latent_guard.errors import LatentGuardError
from latent_guard.files.documents import read_json

COST_RESULTS, COST_TABLE = (Path("benchmarks/results") / name for name in ("cost.json", "cost.csv"))
LOOKS, WARM_UP = 60, 10
COMMAND_RUNS = 3
COMMAND = [sys.executable, "-c", "from latent_guard.cli import main; main()", "generate", "a pirate party", "--safe"]


@torch.no_grad()
def one_look(bench: Workbench) -> list[Row]:
    """One latent read as it is, against the same decoded and read by the pixel CLIP; interleaved."""
    model, clip, vae = bench.guard.model, bench.pixel_clip, bench.pipe.vae
    vision = model.config.vision
    latent = torch.randn(1, vision.channels, vision.size, vision.size, device=bench.device)

    def look() -> None:
        model.encode_latents(latent, normalize=True)

    def decode_and_look() -> None:
        clip.encode_latents(vae.decode(latent).sample, normalize=True)

    pairs = np.array([(_seconds(look), _seconds(decode_and_look)) for _ in range(WARM_UP + LOOKS)])[WARM_UP:]
    ratio = bootstrap.grouped_ratio(pairs[:, 0], pairs[:, 1], np.arange(len(pairs)))
    direct, decoded = np.median(pairs, axis=0) * 1000
    note = f"medians {direct:.2f} ms and {decoded:.2f} ms, one image"
    what = "one look at a latent against decode + pixel CLIP, seconds"
    return [Row(what, "<= 1/3", f"{ratio.plain(3)} of it", LOOKS, ratio.value <= 1 / 3, note)]


def command_in_a_new_process(bench: Workbench) -> list[Row]:
    """The whole command, import and loading included, after one run that warms the page cache."""
    seconds = [_command_seconds() for _ in range(1 + COMMAND_RUNS)][1:]
    median = statistics.median(seconds)
    measured = f"{median:.1f} s ({min(seconds):.1f} to {max(seconds):.1f})"
    what = "`latent-guard generate --safe`, one image, new process, warm page cache, median of 3"
    return [Row(what, "<= 20 s", measured, COMMAND_RUNS, median <= 20, "in brackets the range of the three runs")]


def published_architectures(bench: Workbench) -> list[Row]:
    """What ``benchmarks/cost.py`` last measured; it needs no bundle, and for the generations a GPU."""
    measured = read_json(COST_RESULTS, "the costs") if COST_RESULTS.exists() else {}
    rows = [Row(**row) for case in measured.values() for row in case["rows"]]
    what = "published architectures, random weights: a guarded generation against unguarded, seconds"
    if not any("against unguarded" in row.what for row in rows):
        rows.append(not_measured(what, "<= +2% benign, <= +10% steered", "run `python benchmarks/cost.py` on a GPU"))
    return rows


def _command_seconds() -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run = subprocess.run([*COMMAND, "--out", folder], capture_output=True, text=True)
        seconds = time.perf_counter() - started
    if run.returncode not in (0, 3):  # 3: blocked, which is a result as well
        raise LatentGuardError(f"`latent-guard generate --safe` failed: {run.stderr.strip()}")
    return seconds


def _seconds(work: Callable[[], None]) -> float:
    _wait_for_device()
    started = time.perf_counter()
    work()
    _wait_for_device()
    return time.perf_counter() - started


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
