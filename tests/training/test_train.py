from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from latent_guard.errors import CheckpointError, InputError
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.training import loop
from latent_guard.training.batches import BatchSource
from latent_guard.training.loop import rate_factor_at, train
from latent_guard.training.recipe import Recipe
from latent_guard.training.shards import read_shards
from latent_guard.zero_shot.classify import accuracy, class_embeddings

MODEL = {
    "embed_dim": 16,
    "vision": {"patch_size": 2, "width": 32, "layers": 1, "heads": 2},
    "text": {"context_length": 16, "width": 32, "layers": 1, "heads": 2},
}
COLOURS = ("red", "green", "blue", "yellow")

KILLED = """
import os, signal, sys
from latent_guard.training import loop
from latent_guard.training.recipe import Recipe

schedule = loop.rate_factor_at

def die_at_step_eight(step, recipe):
    if step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return schedule(step, recipe)

loop.SAVE_EVERY, loop.rate_factor_at = 5, die_at_step_eight
loop.train(Recipe.read(sys.argv[1]))
"""


@pytest.fixture
def recipe(shards: Path, tmp_path: Path) -> Recipe:
    return Recipe(
        data=[str(shards)],
        out=str(tmp_path / "out"),
        model=MODEL,
        steps=12,
        batch_size=16,
        learning_rate=3e-3,
        warmup=3,
    )


def same_weights(one: LatentCLIP, other: LatentCLIP) -> bool:
    return all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())


def test_a_short_run_learns_its_data(recipe: Recipe, shards: Path):
    first = train(replace(recipe, steps=2, out=recipe.out + "-first"))
    model = train(replace(recipe, steps=60))
    records = [json.loads((Path(out) / "training.json").read_text()) for out in (recipe.out + "-first", recipe.out)]
    assert records[1]["final_loss"] < records[0]["final_loss"] - 0.3
    assert records[1]["samples_seen"] == 960
    assert records[1]["fingerprint"] == model.fingerprint() != first.fingerprint()
    data = read_shards([shards])
    labels = torch.tensor([next(i for i, c in enumerate(COLOURS) if c in texts[0]) for texts in data.captions])
    with torch.no_grad():
        features = model.encode_latents(data.latents, data.noise_levels)
    assert accuracy(features, class_embeddings(model, COLOURS, ["a {} picture", "the colour {}"]), labels) > 0.9


def test_a_killed_run_goes_on_to_the_same_weights(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 5)
    recipe = replace(recipe, muon_rate=0.02)
    whole = train(replace(recipe, out=str(tmp_path / "whole")))
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.to_dict()))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert (Path(recipe.out) / "resume.pt").exists()
    assert not (Path(recipe.out) / "model.safetensors").exists()
    resumed = train(recipe)
    assert same_weights(resumed, whole)
    weights = [(Path(out) / "model.safetensors").read_bytes() for out in (recipe.out, str(tmp_path / "whole"))]
    assert weights[0] == weights[1]
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


def test_a_run_can_start_from_another_model(recipe: Recipe, tmp_path: Path):
    train(replace(recipe, steps=2))
    again = replace(recipe, out=str(tmp_path / "again"), init_from=recipe.out, steps=1, learning_rate=1e-9)
    start, end = LatentCLIP.from_pretrained(recipe.out), train(again)
    torch.testing.assert_close(end.state_dict(), start.state_dict(), atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match=r"init_from: the model in .* has another config"):
        train(replace(again, out=str(tmp_path / "third"), model={**MODEL, "embed_dim": 8}))


def test_a_run_that_diverges_says_so(recipe: Recipe):
    with pytest.raises(InputError, match="not finite at step 12; lower learning_rate"):
        train(replace(recipe, learning_rate=1e30))


def test_the_learning_rate_rises_then_falls_to_nothing(recipe: Recipe):
    rates = [rate_factor_at(step, replace(recipe, steps=100, warmup=10)) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == pytest.approx(1)
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_batch_follows_from_seed_and_step_alone(recipe: Recipe, shards: Path, tmp_path: Path):
    data = read_shards([shards])
    tokenizer = train(replace(recipe, steps=1)).tokenizer
    source, other = (BatchSource.of(data, tokenizer, torch.device("cpu"), seed) for seed in (0, 1))
    batch = source.batch(7, 16)
    source.batch(8, 16)
    assert torch.equal(batch.latents, source.batch(7, 16).latents)
    assert torch.equal(batch.ids, source.batch(7, 16).ids)
    assert not torch.equal(batch.latents, source.batch(8, 16).latents)
    assert not torch.equal(batch.latents, other.batch(7, 16).latents)


def test_a_batch_pairs_each_latent_with_one_of_its_captions(recipe: Recipe, shards: Path):
    data = read_shards([shards])
    tokenizer = train(replace(recipe, steps=1)).tokenizer
    batch = BatchSource.of(data, tokenizer, torch.device("cpu"), 0).batch(0, 200)
    seen = set()
    for latent, level, ids in zip(batch.latents, batch.noise_levels, batch.ids, strict=True):
        row = next(i for i, stored in enumerate(data.latents) if torch.equal(stored.float(), latent))
        caption = tokenizer.decode(ids, skip_special_tokens=True)
        assert caption in data.captions[row]
        assert level == data.noise_levels[row]
        seen.add(data.captions[row].index(caption))
    assert seen == {0, 1}
    assert (batch.ids[:, -1] == tokenizer.eos_token_id).all()
    assert batch.ids.shape[1] == 5
