from __future__ import annotations

import csv
import json
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
from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.training import loop
from latent_guard.training.loop import train
from latent_guard.training.recipe import Recipe
from tests.damage import bit_flipped, deleted, truncated
from tests.training.toy import same_weights, write_shards

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
    assert left_by(Path(recipe.out)) == left_by(tmp_path / "whole")
    assert not (Path(recipe.out) / "resume.pt").exists()


def left_by(out: Path) -> dict[str, object]:
    """Every file, but what tells of time and of the folder's own name."""
    found: dict[str, object] = {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }
    with open(out / "curve.csv") as file:
        found["curve.csv"] = [{**row, "samples_per_second": ""} for row in csv.DictReader(file)]
    record = json.loads((out / "training.json").read_text())
    found["training.json"] = {**record, "recipe": {**record["recipe"], "out": ""}}
    return found


def test_what_a_tokenizer_has_read_is_not_saved_with_it(recipe: Recipe, tmp_path: Path):
    model = train(replace(recipe, steps=1))
    for name in ("before", "after"):
        model.save_pretrained(tmp_path / name)
        tokenize(model.tokenizer, ["a text"])
    files = [(tmp_path / name / "tokenizer" / "tokenizer.json").read_bytes() for name in ("before", "after")]
    assert files[0] == files[1] == (Path(recipe.out) / "tokenizer" / "tokenizer.json").read_bytes()


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


@pytest.fixture
def interrupted(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint of a run that ended before its end."""
    monkeypatch.setattr(loop._Run, "finish", lambda run: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(recipe)
    monkeypatch.undo()
    return Path(recipe.out) / "resume.pt"


def test_any_changed_bit_of_a_checkpoint_is_found(recipe: Recipe, interrupted: Path):
    whole = interrupted.read_bytes()
    for place in [*range(11, len(whole) - 80, len(whole) // 7), len(whole) - 30, len(whole) - 1]:
        changed = bytearray(whole)
        changed[place] ^= 16
        interrupted.write_bytes(changed)
        with pytest.raises(CheckpointError, match=r"resume\.pt is damaged; delete it .*--restart"):
            train(recipe)
    for other in (whole[:-200], whole[: len(whole) // 2], b""):
        interrupted.write_bytes(other)
        with pytest.raises(CheckpointError, match=r"resume\.pt is damaged"):
            train(recipe)
    interrupted.write_bytes(whole)
    train(recipe)


def test_a_checkpoint_of_an_older_version_is_gone_on_with(recipe: Recipe, interrupted: Path):
    interrupted.write_bytes(interrupted.read_bytes()[:-72])
    with pytest.warns(UserWarning, match="without a checksum"):
        train(recipe)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer/tokenizer.json"])
def test_a_finished_run_that_was_damaged_is_told_from_a_good_one(recipe: Recipe, file: str):
    train(replace(recipe, steps=1))
    for damage in (bit_flipped, truncated, deleted):
        whole = (Path(recipe.out) / file).read_bytes()
        damage(Path(recipe.out) / file)
        if (damage, file) != (bit_flipped, "tokenizer/tokenizer.json"):
            with pytest.raises(CheckpointError, match="--restart"):
                train(replace(recipe, steps=1))
        (Path(recipe.out) / file).write_bytes(whole)
    train(replace(recipe, steps=1))


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
