"""From images to a model: what ``encode`` writes is what training reads, where it lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from latent_guard.errors import InputError
from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.sharding import Worker
from latent_guard.training.data.buckets import TrainingData
from latent_guard.training.data.in_memory import read_by_shape
from latent_guard.training.encoding.encode import encode
from latent_guard.training.encoding.sources import open_source
from latent_guard.training.loop import train
from latent_guard.training.recipe import Recipe
from tests.training.images import jpeg, tiny_encoder, write_folder
from tests.training.toy import MODEL, losses_in

SIZES = {"wide": (16, 9), "square": (12, 12), "tall": (9, 16)}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tars")
    images = {f"{name}{n}.jpg": jpeg(n, *size) for name, size in SIZES.items() for n in range(8)}
    source = write_folder(folder / "images", {name: f"picture {name[:-5]}" for name in images}, images)
    encoder = replace(tiny_encoder(), native_aspect=True, size=32)
    encode(open_source(str(source)), folder / "out", encoder, Worker(0, 1), 10, show_progress=False)
    return folder / "out"


@pytest.fixture
def recipe(encoded: Path, tmp_path: Path) -> Recipe:
    return Recipe(
        data=[str(encoded)],
        out=str(tmp_path / "out"),
        model={**MODEL, "text": {"width": 32, "layers": 1, "heads": 2}},
        steps=10,
        batch_size=8,
        learning_rate=3e-3,
        save_every=5,
    )


def test_images_of_three_aspects_train_one_model(recipe: Recipe, encoded: Path):
    data = TrainingData.open([encoded])
    assert len(data.shapes) == 3
    assert sum(data.shapes.values()) == 24
    assert not data.in_memory
    model = train(recipe)
    assert len(losses_in(Path(recipe.out))) == 2
    assert (model.config.text.vocab_size, model.config.text.context_length) == (len(model.tokenizer), 8)
    assert not model.config.reads_noise_level


def test_a_batch_holds_what_the_tars_hold(recipe: Recipe, encoded: Path):
    tokenizer = train(replace(recipe, steps=1)).tokenizer
    stored = read_by_shape([encoded])
    for bucket in TrainingData.open([encoded]).buckets(tokenizer):
        batch = bucket.draw(torch.arange(len(bucket)), torch.zeros(len(bucket)))
        dataset = stored[bucket.shape]
        assert torch.equal(batch.latents, dataset.latents)
        ids = tokenize(tokenizer, [texts[0] for texts in dataset.captions])
        assert torch.equal(batch.ids, ids)


def test_token_ids_of_another_tokenizer_are_refused(recipe: Recipe):
    with pytest.raises(InputError, match="has vocab_size 600, and the data's token ids are of 564; encode the images"):
        train(replace(recipe, model={**MODEL, "text": {"vocab_size": 600, "width": 32, "layers": 1, "heads": 2}}))
    with pytest.raises(InputError, match="text tower has vocab_size 49408"):
        train(replace(recipe, model="latent-vit-b-8"))
