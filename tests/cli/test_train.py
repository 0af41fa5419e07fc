from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from latent_guard.guidance.guard import LatentGuard
from latent_guard.latent_clip.model import LatentCLIP
from tests.training.images import tiny_vae, write_webdataset

Command = Callable[..., Any]
RECIPE = {
    "model": {
        "embed_dim": 16,
        "vision": {"patch_size": 2, "width": 32, "layers": 1, "heads": 2},
        "text": {"width": 32, "layers": 1, "heads": 2},
    },
    "steps": 3,
    "batch_size": 4,
    "learning_rate": 1e-3,
}


@pytest.fixture
def shards(latent_guard_command: Command, tmp_path: Path) -> Path:
    tiny_vae().save_pretrained(tmp_path / "vae")
    images = write_webdataset(tmp_path / "images", tars=2, samples=4)
    done = latent_guard_command("encode", images, tmp_path / "shards", "--vae", tmp_path / "vae", "--size", 16)
    assert done.code == 0
    return tmp_path / "shards"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def test_from_images_to_a_guard(latent_guard_command: Command, shards: Path, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    done = latent_guard_command("train", recipe, "--data", shards, "--out", out)
    assert done.code == 0
    assert {"model.safetensors", "curve.csv", "curve.png", "training.json"} <= {path.name for path in out.iterdir()}
    bank = tmp_path / "bank"
    assert latent_guard_command("concepts", "build", "emoji_world", "--guard", out, "--out", bank).code == 0
    guard = LatentGuard.from_pretrained(out, bank=bank)
    assert guard.model.fingerprint() == LatentCLIP.from_pretrained(out).fingerprint()


def test_a_model_of_another_make_is_not_written_over(
    latent_guard_command: Command, shards: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    assert latent_guard_command("train", recipe, "--data", shards, "--out", out).code == 0
    (out / "training.json").unlink()
    done = latent_guard_command("train", recipe, "--data", shards, "--out", out)
    assert done.code == 2
    assert "holds a Latent-CLIP that `latent-guard train` did not leave there; choose another out" in done.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, "unknown key 'epochs'"),
        ({"seed": 10**15}, "seed must be a whole number from 0 to 1,099,511,627,776"),
        ({"batch_size": 1}, "batch_size must be a whole number from 2"),
        ({"out": "images/00000.tar/model"}, "cannot write into"),
        ({"model": "latent-vit-b-8"}, "its text tower has vocab_size 49408, and the data's token ids are of"),
        ({"init_from": "ViT-Nonesuch:openai"}, "open_clip has no model 'ViT-Nonesuch:openai'"),
        ({"evaluate": {"data": "shards"}}, "evaluate: missing key 'classes'"),
        ({"patch_steps": 1, "init_from": None}, "patch_steps is for a start from a CLIP on pixels"),
    ],
)
def test_bad_recipes_are_one_line(
    latent_guard_command: Command, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes, message
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({**RECIPE, "data": ["shards"], "out": "model", **changes}))
    done = latent_guard_command("train", "bad.yaml")
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert not (tmp_path / "model" / "model.safetensors").exists()


def test_a_cut_tar_is_named_before_the_first_step(
    latent_guard_command: Command, shards: Path, recipe: Path, tmp_path: Path
) -> None:
    tar = shards / "part-00001-00000.tar"
    tar.write_bytes(tar.read_bytes()[:1000])
    done = latent_guard_command("train", recipe, "--data", shards, "--out", tmp_path / "model")
    assert done.code == 2
    command = f"latent-guard encode {tmp_path / 'images'} {shards} --vae {tmp_path / 'vae'} --size 16"
    assert f"part-00001-00000.tar is truncated (1,000 of 20,480 bytes); run `{command}` again" in done.err
