from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.testing import tiny_pipeline
from latent_guard.testing.pipelines import tiny_vae

Command = Callable[..., Any]
GOLDEN = Path(__file__).parents[1] / "latent_clip" / "golden_small"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(done: Any) -> str:
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1
    return str(done.err)


@torch.no_grad()
def test_a_converted_checkpoint_gives_the_authors_outputs(latent_guard_command: Command, tmp_path: Path) -> None:
    done = latent_guard_command("convert", GOLDEN / "epoch_34.pt", tmp_path / "out")
    assert done.code == 0
    assert "SDXL (4 channels" in done.out
    expected = load_file(GOLDEN / "expected.safetensors")
    model = LatentCLIP.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(model.encode_latents(expected["latents"]), expected["image_features"], atol=1e-5, rtol=0)
    torch.testing.assert_close(model.encode_text(expected["tokens"]), expected["text_features"], atol=1e-5, rtol=0)


def test_converting_twice_changes_nothing(latent_guard_command: Command, tmp_path: Path) -> None:
    latent_guard_command("convert", GOLDEN, tmp_path)
    before = files(tmp_path)
    done = latent_guard_command("convert", GOLDEN, tmp_path)
    assert (done.code, files(tmp_path)) == (0, before)
    assert "already" in done.out
    assert "--vae" in done.out


def test_an_interrupted_conversion_is_taken_up_again(latent_guard_command: Command, tmp_path: Path) -> None:
    latent_guard_command("convert", GOLDEN, tmp_path)
    before = files(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "model.safetensors").rename(tmp_path / "model.safetensors.part")
    assert latent_guard_command("convert", GOLDEN, tmp_path).code == 0
    assert files(tmp_path) == before


def test_a_folder_that_holds_something_else_is_left_alone(latent_guard_command: Command, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear")
    assert "thesis" not in refused(latent_guard_command("convert", GOLDEN, tmp_path))
    assert files(tmp_path) == {"thesis.txt": b"dear"}
    assert "not a folder" in refused(latent_guard_command("convert", GOLDEN, tmp_path / "thesis.txt"))


def test_weights_of_other_hands_are_not_overwritten(latent_guard_command: Command, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"precious")
    assert "something else" in refused(latent_guard_command("convert", GOLDEN, tmp_path))
    assert files(tmp_path) == {"model.safetensors": b"precious"}


def test_another_model_is_not_overwritten(latent_guard_command: Command, tmp_path: Path) -> None:
    other = LatentCLIP(LatentCLIP.from_official(GOLDEN).config)
    other.save_pretrained(tmp_path)
    before = files(tmp_path)
    assert other.fingerprint() in refused(latent_guard_command("convert", GOLDEN, tmp_path))
    assert files(tmp_path) == before


def test_a_missing_file_a_wrong_shape_and_a_hostile_pickle_write_nothing(
    latent_guard_command: Command, tmp_path: Path
) -> None:
    out, trap, source = tmp_path / "out", tmp_path / "it ran", tmp_path / "source"
    assert "no checkpoint at" in refused(latent_guard_command("convert", tmp_path / "epoch_34.pt", out))
    wrong = latent_guard_command("convert", GOLDEN, out, "--config", "latent-vit-b-8")
    assert "(16,) in the checkpoint and (768,) by the config" in refused(wrong)
    shutil.copytree(GOLDEN, source)
    (source / "epoch_34.pt").unlink()
    torch.save({"state_dict": Trap(trap)}, source / "epoch_34.pt")
    assert "nothing in it was run" in refused(latent_guard_command("convert", source, out))
    assert not trap.exists()
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_named_before_the_work(latent_guard_command: Command) -> None:
    assert "/proc/x" in refused(latent_guard_command("convert", GOLDEN, "/proc/x/out"))


def test_a_vae_that_is_not_sdxls_is_refused_naming_both_spaces(latent_guard_command: Command, tmp_path: Path) -> None:
    tiny_vae(0.18215, pixels=64).save_pretrained(tmp_path / "vae")
    said = refused(latent_guard_command("convert", GOLDEN, tmp_path / "out", "--vae", tmp_path / "vae"))
    assert "SD 1.5 (4 channels" in said
    assert "SDXL (4 channels" in said
    assert not (tmp_path / "out").exists()


def test_the_documented_use_runs_on_stand_ins(latent_guard_command: Command, tmp_path: Path) -> None:
    """README's three commands, with an SDXL and a published Latent-CLIP of random weights in their folders' layout."""
    pipeline, guard, bank, out = (tmp_path / name for name in ("sdxl-turbo", "guard", "bank", "out"))
    tiny_pipeline("StableDiffusionXLPipeline", pixels=64).save_pretrained(pipeline)
    assert latent_guard_command("convert", GOLDEN, guard, "--vae", pipeline).code == 0
    assert latent_guard_command("concepts", "build", "i2p", "--guard", guard, "--out", bank).code == 0
    places = ("--model", pipeline, "--guard", guard, "--bank", bank, "--out", out)
    done = latent_guard_command("generate", "a quiet street", "--policy", "flag", "--steps", 1, *places)
    assert done.code == 0, done.err
    verdict = json.loads((out / "000.json").read_text())
    assert verdict["decision"] in ("allowed", "flagged")
    with Image.open(out / "000.png") as picture:
        assert picture.size == (64, 64)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
