"""SIGKILL inside writes: a script that lives through its own forks, each of which dies at a random byte.

Threads of numerical libraries do not live through a fork, and what waits for them would wait for ever: so there is one
thread, and a fork that takes too long is ended and fails the test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from latent_guard.sharding import Worker
from latent_guard.training.encoding.encode import encode
from latent_guard.training.encoding.plan import Encoded
from latent_guard.training.encoding.sources import open_source
from tests.training.images import samples_in, tiny_encoder, write_webdataset

ROWS = 2

KILLED = """
import io, os, random, signal, sys
from pathlib import Path
from latent_guard.training.data import tar_shards
from latent_guard.sharding import Worker
from latent_guard.training.encoding.encode import encode
from latent_guard.training.encoding.sources import open_source
from tests.training.images import tiny_encoder

source, out, kills, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
left = 0

def die_inside(content, write):
    global left
    left -= len(content)
    if left < 0:
        write(content[:len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

class Dying(io.FileIO):
    def write(self, content):
        die_inside(bytes(content), super().write)
        return super().write(content)

def write_bytes(path, content):
    with open(path, "wb", buffering=0) as file:
        die_inside(content, file.write)
        return file.write(content)

tar_shards.open_for_writing = lambda path: Dying(path, "w")
Path.write_bytes = write_bytes
numbers, died = random.Random(kills), 0
for attempt in range(kills):
    left = numbers.randrange(25_000)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        encode(open_source(source), out, tiny_encoder(), Worker(0, 1), rows, show_progress=False)
        os._exit(0)
    died += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
print(died)
"""


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_after_kills_inside_writes_each_sample_is_there_once(tmp_path: Path, kills: int) -> None:
    source = write_webdataset(tmp_path / "source", tars=2, samples=4 + 2 * kills)
    encoded = Encoded(samples=8 + 4 * kills, shards=4 + 2 * kills, bad=0, finished=True)
    arguments = [source, tmp_path / "out", kills, ROWS]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], env=environment)
    assert int(done.stdout or 0) == kills, done.stderr

    for folder in (tmp_path / "out", tmp_path / "never killed"):
        assert encoded == encode(
            open_source(str(source)), folder, tiny_encoder(), Worker(0, 1), ROWS, show_progress=False
        )
    assert len(set(samples_in(tmp_path / "out"))) == len(samples_in(tmp_path / "out")) == encoded.samples
    assert whole_files(tmp_path / "out") == whole_files(tmp_path / "never killed")


def whole_files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".part")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
