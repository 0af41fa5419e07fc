"""Several real processes over gloo against one process with the same batches."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from latent_guard.training.loop import train
from latent_guard.training.recipe import Recipe
from tests.training.toy import MODEL, write_shards


def launch(recipe: Recipe, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.to_dict()))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launcher, "-m", "latent_guard", "train", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


def losses(recipe: Recipe) -> list[float]:
    with open(Path(recipe.out) / "curve.csv") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


CASES = [
    pytest.param({"micro_batch": 3}, id="clip, cached"),
    pytest.param({"loss": "siglip"}, id="siglip", marks=pytest.mark.slow),
    pytest.param({"patch_steps": 3, "muon_rate": 0.02}, id="from pixels in two stages", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("changes", CASES)
def test_two_processes_lose_as_one_does(shards: Path, twin: Path, tmp_path: Path, changes: dict) -> None:
    one = Recipe(
        data=[str(shards), str(write_shards(tmp_path / "wide", (4, 4, 6)))],
        out=str(tmp_path / "one"),
        model=MODEL,
        steps=5,
        batch_size=16,
        learning_rate=3e-3,
        precision="fp32",
        save_every=1,
        init_from=str(twin) if "patch_steps" in changes else None,
    )
    two = replace(one, out=str(tmp_path / "two"), **changes)
    train(replace(two, out=one.out, micro_batch=None))
    done = launch(two, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "two" / "training.json").read_text())["processes"] == 2
    assert len(losses(one)) == 5
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)
