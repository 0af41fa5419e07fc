from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from latent_guard.errors import InputError
from latent_guard.training.recipe import Recipe, shipped_recipes

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
        ({"steps": 0}, "steps must be a whole number from 1"),
        ({"steps": "many"}, "steps must be int"),
        ({"steps": True}, "steps must be int"),
        ({"data": []}, "at least one folder"),
        ({"data": "shards"}, r"data must be list\[str\]"),
        ({"data": [1]}, r"data must be list\[str\]"),
        ({"learning_rate": "fast"}, "learning_rate must be float"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number over 0"),
        ({"warmup": -1}, "warmup must be a whole number from 0"),
        ({"model": None}, "model must be dict"),
        ({"loss": "triplet"}, "loss must be one of clip, siglip"),
        ({"precision": "fp8"}, "precision must be one of bf16, fp32"),
        ({"micro_batch": 0}, "micro_batch must be a whole number from 1"),
        ({"compile": 1}, "compile must be bool"),
        ({"steps": 1.5}, "steps must be int"),
        ({"trackers": ["paper"]}, "trackers: 'paper' is not one of tensorboard, wandb"),
        ({"patch_steps": 5}, "patch_steps is for a start from a CLIP on pixels"),
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


def test_options_replace_what_a_recipe_says(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text(TEXT)
    assert Recipe.read(path, out="elsewhere").out == "elsewhere"


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_recipes_that_ship_are_the_published_ones(name: str):
    with pytest.raises(InputError, match=f"{name}: missing key 'data'"):
        Recipe.read(name)
    recipe = Recipe.read(name, data=["shards"], out="model")
    assert recipe.model == name
    assert (recipe.learning_rate, recipe.loss, recipe.precision) == (1e-3, "clip", "bf16")
    assert recipe.steps * recipe.batch_size == pytest.approx(34e9, rel=0.01)
