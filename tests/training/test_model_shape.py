from __future__ import annotations

from pathlib import Path

import pytest
import torch

from latent_guard.errors import InputError
from latent_guard.latent_clip.latent_space import PUBLISHED, LatentSpace
from latent_guard.latent_clip.presets import PRESETS
from latent_guard.training.data.buckets import TrainingData
from latent_guard.training.data.shards import ShardWriter
from latent_guard.training.model_shape import model_config

SPACE = LatentSpace("toy VAE", 4, 8)


def data_of(folder: Path, sizes: dict[tuple[int, int], int], space: LatentSpace = SPACE) -> TrainingData:
    folders = [folder / f"{rows}x{columns}" for rows, columns in sizes]
    for path, (size, count) in zip(folders, sizes.items(), strict=True):
        with ShardWriter(path, space) as writer:
            writer.add(torch.zeros(count, space.channels, *size), [["a"]] * count)
    return TrainingData.open(folders)


def recipe_model(**vision: int) -> dict:
    return {
        "embed_dim": 16,
        "vision": {"patch_size": 2, "width": 32, "layers": 1, "heads": 2, **vision},
        "text": {"context_length": 16, "width": 32, "layers": 1, "heads": 2},
    }


def test_the_data_completes_the_model(tmp_path: Path):
    config = model_config(recipe_model(), data_of(tmp_path, {(8, 8): 1}))
    assert (config.vision.channels, config.vision.size, config.text.vocab_size) == (4, 8, 9514)
    assert (config.latent_space, config.reads_noise_level) == (SPACE, False)


def test_a_model_of_noisy_latents_reads_how_noisy_they_are(tmp_path: Path):
    with ShardWriter(tmp_path, SPACE) as writer:
        writer.add(torch.zeros(2, 4, 8, 8), [["a"]] * 2, torch.tensor([0.0, 0.5]))
    assert model_config(recipe_model(), TrainingData.open([tmp_path])).reads_noise_level


def test_among_several_sizes_the_model_has_that_of_most_samples(tmp_path: Path):
    assert model_config(recipe_model(), data_of(tmp_path / "a", {(8, 8): 3, (8, 12): 2})).vision.size == 8
    assert model_config(recipe_model(), data_of(tmp_path / "b", {(8, 8): 2, (8, 12): 3})).vision.size == 10
    assert model_config(recipe_model(size=12), data_of(tmp_path / "c", {(8, 8): 2, (8, 12): 3})).vision.size == 12


def test_a_preset_takes_the_latents_of_any_vae(tmp_path: Path):
    config = model_config("latent-vit-b-8", data_of(tmp_path, {(32, 32): 1}, PUBLISHED["FLUX.1"]))
    assert (config.vision.channels, config.vision.size, config.vision.patch_size) == (16, 32, 8)
    assert config.text == PRESETS["latent-vit-b-8"].text
    with pytest.raises(InputError, match="'vit-huge' is no preset; known are latent-vit-b-8, latent-vit-b-4-plus"):
        model_config("vit-huge", data_of(tmp_path / "other", {(32, 32): 1}))


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("vision", "size", 16, "vision size is 16, but it has to be 8"),
        ("vision", "channels", 16, "channels is 16, but latents of toy VAE have 4"),
        ("vision", "colour", 1, "unknown key 'colour'"),
        ("vision", "patch_size", 3, "size 8 is not a multiple of patch_size 3"),
    ],
)
def test_a_model_that_contradicts_the_data_is_refused(tmp_path: Path, section, key, value, message):
    model = recipe_model()
    model[section][key] = value
    with pytest.raises(InputError, match=message):
        model_config(model, data_of(tmp_path, {(8, 8): 1}))
