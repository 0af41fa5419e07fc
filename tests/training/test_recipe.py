from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from latent_guard.errors import InputError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.training.recipe import Recipe

SPACE = LatentSpace("toy VAE", 4, 8)
TEXT = """
data: [shards]
out: model
model:
  embed_dim: 16
  vision: {patch_size: 2, width: 32, layers: 1, heads: 2}
  text: {context_length: 16, width: 32, layers: 1, heads: 2}
steps: 10
batch_size: 8
learning_rate: 1e-3
"""


def read(tmp_path: Path, **changes) -> Recipe:
    data = {**yaml.safe_load(TEXT), **changes}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in data.items() if value != "gone"}))
    return Recipe.read(path)


def test_a_recipe_is_read_with_its_defaults(tmp_path: Path):
    recipe = read(tmp_path)
    assert recipe.learning_rate == 1e-3
    assert (recipe.seed, recipe.init_from) == (0, None)
    assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, r"recipe\.yaml: unknown key 'epochs'; known are data, out"),
        ({"steps": "gone"}, "missing key 'steps'"),
        ({"steps": 0}, "steps must be positive"),
        ({"steps": "many"}, "steps must be int"),
        ({"steps": True}, "steps must be int"),
        ({"data": []}, "at least one folder"),
        ({"data": "shards"}, r"data must be list\[str\]"),
        ({"data": [1]}, r"data must be list\[str\]"),
        ({"learning_rate": "fast"}, "learning_rate must be float"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"warmup": -1}, "warmup must not be negative"),
        ({"model": None}, "model must be dict"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_file(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(InputError, match=message):
        read(tmp_path, **changes)


@pytest.mark.parametrize("content", ["", "- a list", "a: [", "\x00"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, content: str):
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"recipe\.yaml") as caught:
        Recipe.read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="cannot read recipe"):
        Recipe.read(tmp_path / "recipe.yaml")


def test_the_data_completes_the_model(tmp_path: Path):
    config = read(tmp_path).model_config(SPACE, size=8, vocab_size=1000)
    assert (config.vision.channels, config.vision.size, config.text.vocab_size) == (4, 8, 1000)
    assert config.latent_space == SPACE


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("vision", "size", 16, "vision size is 16, but it has to be 8"),
        ("vision", "channels", 16, "channels is 16, but latents of toy VAE have 4"),
        ("text", "vocab_size", 5, "vocab_size is 5, but it has to be 1000"),
        ("vision", "colour", 1, "unknown key 'colour'"),
    ],
)
def test_a_model_that_contradicts_the_data_is_refused(tmp_path: Path, section, key, value, message):
    recipe = read(tmp_path)
    recipe.model[section][key] = value
    with pytest.raises(InputError, match=message):
        recipe.model_config(SPACE, size=8, vocab_size=1000)
