"""A run in a folder: killed at random points inside writes, it ends as one that never was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

SPEC = """name: killed
judge: emoji-judge
steps: 2
batch_size: 2
tasks: {risky: {prompts: emoji/dev_risky, images: 8}}
methods: [unguarded, {negative-prompt: {guidance_scale: 2}}]
"""

KILLED = """
import os, random, signal, sys
from pathlib import Path
from latent_guard.bench.runs.run import open_spec, run
from latent_guard.bench.spec_file import read_spec
from latent_guard.loading import load_pipeline
from latent_guard.worlds.emoji.bundle import bundle_folder
import torch

torch.set_num_threads(1)
spec, out, kills = read_spec(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
pipe = load_pipeline(None, 20, 16)
pipe.set_progress_bar_config(disable=True)
opened = open_spec(spec, pipe, bundle_folder(), out / "cache")
whole, left, numbers, died = Path.write_bytes, 0, random.Random(), 0

def write_bytes(path, content):
    global left
    left -= len(content)
    if left < 0:
        whole(path, content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(path, content)

Path.write_bytes = write_bytes
for attempt in range(kills):
    left = numbers.randrange(30_000)
    child = os.fork()
    if child == 0:
        run(opened, out, "killed")
        os._exit(0)
    died += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
Path.write_bytes = whole
run(opened, out, "killed")
print(died)
"""


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_after_kills_inside_writes_the_table_is_that_of_a_run_never_killed(tmp_path: Path, kills: int) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    tables = {}
    for name, count in (("killed", kills), ("whole", 0)):
        command = [sys.executable, "-c", KILLED, str(tmp_path / "spec.yaml"), str(tmp_path / name), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
        assert done.returncode == 0, done.stderr[-2000:]
        assert int(done.stdout.split()[-1]) >= min(count, 1)
        tables[name] = pd.read_parquet(tmp_path / name / "records.parquet").drop(columns=["seconds", "memory"])
    pd.testing.assert_frame_equal(tables["killed"], tables["whole"])
    assert sorted(tables["killed"]["row"]) == list(range(16))
    for image in tables["whole"]["image"]:
        assert (tmp_path / "killed" / image).read_bytes() == (tmp_path / "whole" / image).read_bytes()
