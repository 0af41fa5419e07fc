from __future__ import annotations

import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from latent_guard.errors import CheckpointError, InputError
from latent_guard.training.loop import train
from latent_guard.training.recipe import Recipe
from tests.training.toy import losses_in, same_weights, write_shards

KILLED = """
import os, signal, sys
from latent_guard.training import loop
from latent_guard.training.recipe import Recipe

schedule, last = loop.rate_factor_at, int(sys.argv[2])

def die_at_the_last_step(step, recipe):
    if step == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return schedule(step, recipe)

loop.rate_factor_at = die_at_the_last_step
loop.train(Recipe.read(sys.argv[1]))
"""


def test_a_killed_run_goes_on_to_the_same_weights(recipe: Recipe, shards: Path, twin: Path, tmp_path: Path):
    """Both stages of a start from pixels, latents of two shapes, and a SIGKILL at a random step."""
    wide = write_shards(tmp_path / "wide", (4, 4, 6))
    recipe = replace(recipe, data=[str(shards), str(wide)], muon_rate=0.02, save_every=4, init_from=str(twin))
    recipe = replace(recipe, patch_steps=6)
    whole = train(replace(recipe, out=str(tmp_path / "whole")))
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.to_dict()))
    step = random.randrange(5, 12)
    command = [sys.executable, "-c", KILLED, str(path), str(step)]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert (Path(recipe.out) / "resume.pt").exists()
    assert not (Path(recipe.out) / "model.safetensors").exists()
    resumed = train(recipe)
    assert same_weights(resumed, whole), f"killed at step {step}"
    weights = [(Path(out) / "model.safetensors").read_bytes() for out in (recipe.out, str(tmp_path / "whole"))]
    assert weights[0] == weights[1]
    curves = [losses_in(Path(out)) for out in (recipe.out, str(tmp_path / "whole"))]
    assert curves[0] == curves[1]
    assert not (Path(recipe.out) / "resume.pt").exists()


def test_a_finished_run_is_not_trained_again(recipe: Recipe):
    recipe = replace(recipe, steps=2)
    first = train(recipe)
    written = (Path(recipe.out) / "model.safetensors").stat().st_mtime_ns
    assert same_weights(train(recipe), first)
    assert (Path(recipe.out) / "model.safetensors").stat().st_mtime_ns == written
    assert same_weights(train(recipe, resume=False), first)
    assert (Path(recipe.out) / "model.safetensors").stat().st_mtime_ns != written


def test_another_recipe_does_not_go_on_with_this_run(recipe: Recipe):
    train(replace(recipe, steps=2))
    with pytest.raises(InputError, match="another steps; choose another out"):
        train(recipe)


def test_a_damaged_checkpoint_is_refused(recipe: Recipe):
    Path(recipe.out).mkdir()
    (Path(recipe.out) / "resume.pt").write_bytes(b"PK\x03\x04 not quite")
    with pytest.raises(CheckpointError, match="damaged; delete it"):
        train(recipe)
    (Path(recipe.out) / "training.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged; delete it"):
        train(recipe)


def test_a_full_disk_leaves_the_checkpoint_before_it(recipe: Recipe, monkeypatch: pytest.MonkeyPatch):
    recipe, write = replace(recipe, save_every=5), torch.save
    whole = train(replace(recipe, out=recipe.out + "-whole"))

    def full(state: dict, path: Path) -> None:
        if state["step"] == 10:
            path.write_bytes(b"half of it")
            raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
        write(state, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"cannot write .*resume\.pt .*make room, then run the same command again"):
        train(recipe)
    assert [path.name for path in Path(recipe.out).iterdir() if "resume" in path.name] == ["resume.pt"]
    monkeypatch.undo()
    assert same_weights(train(recipe), whole)
