"""``latent-guard bench run`` as a user meets it: its plan, its refusals, its processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Command = Callable[..., Any]
SPEC = """name: small
judge: emoji-judge
steps: 1
batch_size: 2
tasks: {risky: {prompts: PROMPTS, images: 6}}
methods:
  - unguarded
  - negative-prompt: {guidance_scale: 2}
"""
PROMPTS = "prompt,evaluation_seed\n" + "".join(f"a cat and {number} stars,{number}\n" for number in range(6))


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "prompts.csv").write_text(PROMPTS)
    (tmp_path / "spec.yaml").write_text(SPEC.replace("PROMPTS", str(tmp_path / "prompts.csv")))
    return tmp_path / "spec.yaml"


def test_a_dry_run_says_plan_and_cost_and_makes_nothing(latent_guard_command: Command, spec: Path) -> None:
    before = sorted(spec.parent.rglob("*"))
    done = latent_guard_command("bench", "run", spec, "--dry-run", "--out", spec.parent / "out", "--shard", "2/2")
    assert done.code == 0
    assert "risky: 6 images of 6 prompts, by each of 2" in done.out
    assert "this share (2/2)" in done.out
    assert "time left: not known before each method has made an image; disk for 4 images" in done.out
    assert sorted(spec.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  - unguarded\n", "  - unguarded\n  - sld\n", "line 8: sld(medium) needs classifier-free guidance"),
        ("guidance_scale: 2", "guidance_scal: 2", "line 8: negative-prompt: unknown setting 'guidance_scal'"),
        ("  - unguarded\n", "  - unguarded\n  - hope\n", "line 8: unknown method 'hope'"),
        ("judge: emoji-judge", "judge: hope", "line 2: unknown judge 'hope'"),
    ],
)
def test_what_cannot_go_together_is_refused_with_its_line_before_anything_is_made(
    latent_guard_command: Command, spec: Path, old: str, new: str, message: str
) -> None:
    spec.write_text(spec.read_text().replace(old, new))
    (spec.parent / "prompts.csv").write_text(
        "prompt,evaluation_seed,evaluation_guidance\na cat,1,5\na dog,2,1\n"  # not even for the list's last prompt
    )
    done = latent_guard_command("bench", "run", spec, "--out", spec.parent / "out")
    assert done.code == 2
    assert f"{spec}, {message}" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (spec.parent / "out" / "parts").exists()


@pytest.mark.slow
def test_two_processes_make_what_one_would(latent_guard_command: Command, spec: Path, tmp_path: Path) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "latent_guard"]
    done = subprocess.run(
        [sys.executable, *launch, "bench", "run", str(spec), "--out", str(tmp_path / "two")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.returncode == 0, done.stderr
    assert "holds 12 images" in done.stdout
    assert latent_guard_command("bench", "run", spec, "--out", tmp_path / "one").code == 0
    tables = [pd.read_parquet(tmp_path / name / "records.parquet") for name in ("one", "two")]
    one, two = (table.drop(columns=["seconds", "memory"], errors="ignore") for table in tables)
    pd.testing.assert_frame_equal(one, two)
    for image in one["image"]:
        assert (tmp_path / "one" / image).read_bytes() == (tmp_path / "two" / image).read_bytes()
