"""The commands on a cluster of two nodes, as a user starts them: what one process makes, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.serving.bulk.clusters import TwoNodes, wait_until
from tests.training.images import write_webdataset

pytestmark = pytest.mark.slow

SPEC = """name: small
judge: emoji-judge
steps: 2
batch_size: 2
tasks: {risky: {prompts: prompts.csv, images: 12}}
methods: [unguarded, {guard: {policy: strict}}]
"""
PROMPTS = "prompt,evaluation_seed\n" + "".join(f"a cat and {number} stars,{number}\n" for number in range(12))
FILES, SAMPLES = 160, 8


@dataclass(frozen=True)
class Work:
    """A command, which pieces of its output are there, and what all of it comes to in the end."""

    arguments: tuple[str, ...]
    code: int
    pieces: Callable[[Path], int]
    whole: int
    contents: Callable[[Path], dict[str, object]]

    def start(self, folder: Path, out: Path, *more: str) -> subprocess.Popen[str]:
        command = [word.replace("OUT", str(out)) for word in self.arguments]
        return subprocess.Popen(
            [sys.executable, "-m", "latent_guard", *command, *more],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> str:
        out, err = process.communicate(timeout=400)
        assert process.returncode == self.code, err
        return out

    def has_begun(self, out: Path) -> bool:
        return self.pieces(out) > 0


def lines_of(out: Path) -> int:
    return out.read_text().count("\n") if out.exists() else 0


def images_and_records(run: Path) -> dict[str, object]:
    records = pd.read_parquet(run / "records.parquet").drop(columns=["seconds", "memory"], errors="ignore")
    verdicts = {file.name: file.read_text().count("\n") for file in (run / "verdicts").iterdir()}
    return {**{name: (run / name).read_bytes() for name in records["image"]}, "rows": records.to_csv(), **verdicts}


def shards_and_index(out: Path) -> dict[str, object]:
    files = (file for file in sorted(out.rglob("*")) if file.is_file() and file.name != "encode.json")
    return {str(file.relative_to(out)): file.read_bytes() for file in files}  # encode.json tells the command


ENCODE = Work(
    ("encode", "source", "OUT", "--size", "64", "--rows-per-shard", "2", "--batch-size", "2"),
    0,
    lambda out: len(list(out.glob("manifests/part-*.json"))),
    16,
    shards_and_index,
)
CHECK = Work(
    ("check", "pictures", "--out", "OUT"), 2, lines_of, FILES, lambda out: {"lines": out.read_bytes()}
)  # one picture cannot be read
BENCH = Work(
    ("bench", "run", "spec.yaml", "--out", "OUT"),
    0,
    lambda out: len(list(out.glob("parts/*.parquet"))),
    12,
    images_and_records,
)
WORK = {"encode": ENCODE, "check": CHECK, "bench": BENCH}
OUT = {"encode": "shards", "check": "findings.jsonl", "bench": "run"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("work")
    write_webdataset(place / "source", tars=4, samples=SAMPLES)
    (place / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for number in range(7):  # large ones, which take a while to read
        pixels = rng.integers(256, size=(1200 + number, 1000, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png", compress_level=0)
    for number in range(FILES):
        (place / "pictures" / f"{number:03d}.png").hardlink_to(place / f"{number % 7}.png")
    (place / "pictures" / "077.png").unlink()
    (place / "pictures" / "077.png").write_bytes(b"no picture")
    (place / "prompts.csv").write_text(PROMPTS)
    (place / "spec.yaml").write_text(SPEC)
    return place


@pytest.fixture(scope="module", params=WORK)
def work(request: pytest.FixtureRequest) -> tuple[Work, str]:
    return WORK[request.param], OUT[request.param]


@pytest.fixture(scope="module")
def by_one_process(work: tuple[Work, str], folder: Path) -> dict[str, object]:
    """What the command makes without Ray."""
    command, name = work
    out = folder / "one" / name
    command.finish(command.start(folder, out))
    assert command.pieces(out) == command.whole
    return command.contents(out)


def test_a_killed_worker_changes_nothing(
    two_nodes: TwoNodes, work: tuple[Work, str], folder: Path, by_one_process: dict[str, object]
) -> None:
    command, name = work
    out = folder / "worker" / name
    process = command.start(folder, out, "--ray", two_nodes.address)
    wait_until(lambda: command.has_begun(out) or process.poll() is not None)
    assert command.pieces(out) < command.whole
    two_nodes.kill_a_worker()
    printed = command.finish(process)
    assert command.contents(out) == by_one_process
    assert len(printed.splitlines()) == 1  # what Ray has to say of it is no answer of the command's


def test_a_killed_command_goes_on_where_it_was(
    two_nodes: TwoNodes, work: tuple[Work, str], folder: Path, by_one_process: dict[str, object]
) -> None:
    command, name = work
    out = folder / "driver" / name
    process = command.start(folder, out, "--ray", two_nodes.address)
    wait_until(lambda: command.has_begun(out) or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not two_nodes.workers())  # they end with who asked for their work
    assert 0 < command.pieces(out) < command.whole
    command.finish(command.start(folder, out, "--ray", two_nodes.address))
    assert command.contents(out) == by_one_process
