from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from latent_guard.errors import InputError
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.training.data.batches import Batch, BatchSource
from latent_guard.training.data.buckets import TrainingData
from latent_guard.training.data.in_memory import read_shards
from latent_guard.training.loop import train
from latent_guard.training.optimizers import rate_factor_at
from latent_guard.training.recipe import Recipe
from latent_guard.zero_shot.classify import accuracy, class_embeddings
from tests.training.toy import COLOURS, MODEL, labels_of, write_shards


def test_a_short_run_learns_its_data(recipe: Recipe, shards: Path):
    first = train(replace(recipe, steps=2, out=recipe.out + "-first"))
    model = train(replace(recipe, steps=60))
    records = [json.loads((Path(out) / "training.json").read_text()) for out in (recipe.out + "-first", recipe.out)]
    assert records[1]["final_loss"] < records[0]["final_loss"] - 0.3
    assert records[1]["samples_seen"] == 960
    assert records[1]["fingerprint"] == model.fingerprint() != first.fingerprint()
    data = read_shards([shards])
    with torch.no_grad():
        features = model.encode_latents(data.latents, data.noise_levels)
    assert (
        accuracy(features, class_embeddings(model, COLOURS, ["a {} picture", "the colour {}"]), labels_of(data)) > 0.9
    )


def test_a_run_can_start_from_another_model(recipe: Recipe, tmp_path: Path):
    train(replace(recipe, steps=2))
    again = replace(recipe, out=str(tmp_path / "again"), init_from=recipe.out, steps=1, learning_rate=1e-9)
    start, end = LatentCLIP.from_pretrained(recipe.out), train(again)
    torch.testing.assert_close(end.state_dict(), start.state_dict(), atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="embed_dim"):
        train(replace(again, out=str(tmp_path / "third"), model={**MODEL, "embed_dim": 8}))
    with pytest.raises(InputError, match="has every weight, its patch embedding too; leave it out"):
        train(replace(again, out=str(tmp_path / "fourth"), patch_steps=1))


def test_from_pixels_the_patch_embedding_learns_first_and_alone(recipe: Recipe, twin: Path, tmp_path: Path):
    start = LatentCLIP.from_pretrained(twin).state_dict()
    first = train(replace(recipe, init_from=str(twin), patch_steps=12)).state_dict()
    changed = {
        name
        for name, weight in first.items()
        if start[name].shape != weight.shape or not torch.allclose(start[name], weight, atol=1e-3)
    }
    assert changed == {"visual.conv1.weight"}
    both = train(replace(recipe, init_from=str(twin), patch_steps=6, out=str(tmp_path / "both"))).state_dict()
    assert not torch.allclose(both["text.token_embedding.weight"], first["text.token_embedding.weight"])


def test_latents_of_several_sizes_are_learnt_together(recipe: Recipe, shards: Path, tmp_path: Path):
    wide = write_shards(tmp_path / "wide", (4, 4, 6))
    model = train(replace(recipe, data=[str(shards), str(wide)], steps=40))
    assert model.config.vision.size == 4
    for folder in (shards, wide):
        data = read_shards([folder])
        with torch.no_grad():
            features = model.encode_latents(data.latents, data.noise_levels)
        assert accuracy(features, class_embeddings(model, COLOURS, ["a {} picture"]), labels_of(data)) > 0.8
    other = write_shards(tmp_path / "other", (3, 4, 4))
    with pytest.raises(InputError, match="holds latents of"):
        train(replace(recipe, data=[str(shards), str(other)], out=str(tmp_path / "mixed")))


def test_a_run_leaves_its_curve_and_what_trackers_keep(recipe: Recipe, shards: Path, tmp_path: Path):
    classes = tmp_path / "classes.yaml"
    classes.write_text(yaml.safe_dump({"classes": list(COLOURS), "templates": ["a {} picture"]}))
    evaluate = {"data": str(shards), "classes": str(classes), "every": 6}
    train(replace(recipe, evaluate=evaluate, trackers=["tensorboard"]))
    out = Path(recipe.out)
    with open(out / "curve.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["6", "12"]
    assert all(0 <= float(row["top1"]) <= 1 for row in rows)
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert list(out.rglob("events.out.tfevents.*"))


def test_a_tracker_that_is_not_installed_is_named(recipe: Recipe, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("latent_guard.training.accelerator.find_spec", lambda name: None)
    with pytest.raises(InputError, match="wandb is not installed; pip install wandb"):
        train(replace(recipe, trackers=["wandb"]))
    assert not Path(recipe.out).exists()


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
    data = TrainingData.open([shards])
    tokenizer = train(replace(recipe, steps=1)).tokenizer
    source, other = (BatchSource(data.buckets(tokenizer), seed) for seed in (0, 1))
    batch = source.batch(7, 16)
    source.batch(8, 16)
    assert torch.equal(batch.latents, source.batch(7, 16).latents)
    assert torch.equal(batch.ids, source.batch(7, 16).ids)
    assert not torch.equal(batch.latents, source.batch(8, 16).latents)
    assert not torch.equal(batch.latents, other.batch(7, 16).latents)


def test_a_batch_pairs_each_latent_with_one_of_its_captions(recipe: Recipe, shards: Path):
    data = read_shards([shards])
    tokenizer = train(replace(recipe, steps=1)).tokenizer
    batch = BatchSource(TrainingData.open([shards]).buckets(tokenizer), 0).batch(0, 200)
    seen = set()
    for latent, level, ids in zip(batch.latents, batch.noise_levels, batch.ids, strict=True):
        row = next(i for i, stored in enumerate(data.latents) if torch.equal(stored, latent))
        caption = tokenizer.decode(ids, skip_special_tokens=True)
        assert caption in data.captions[row]
        assert level == data.noise_levels[row]
        seen.add(data.captions[row].index(caption))
    assert seen == {0, 1}
    assert [text.shape for text in batch.texts] == [(200, 5)]


def test_short_captions_run_together_and_no_pair_is_torn():
    ids = torch.full((6, 77), 9)
    for row, length in enumerate((30, 5, 77, 24, 41, 7)):
        ids[row, : length - 1] = row
    numbers = torch.arange(6.0)
    batch = Batch.of(numbers.view(6, 1, 1, 1), numbers, ids, end_token=9)
    assert [text.shape for text in batch.texts] == [(3, 24), (1, 30), (2, 77)]
    assert torch.equal(batch.latents.flatten(), batch.noise_levels)
    assert torch.equal(batch.ids[:, 0].float(), batch.noise_levels)
    assert torch.equal(torch.cat([text[:, 0] for text in batch.texts]), batch.ids[:, 0])
    assert [text.shape for part in batch.split(4) for text in part.texts] == [(3, 24), (1, 30), (2, 77)]
