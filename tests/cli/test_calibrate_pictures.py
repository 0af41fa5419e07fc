"""``concepts calibrate`` and ``test`` on pictures that exist already, for those who moderate uploads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from latent_guard import LatentGuard
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibration_set import CalibrationSet
from latent_guard.errors import InputError
from latent_guard.testing import tiny_pipeline

Command = Callable[..., Any]
DARK, BRIGHT = (0, 128), (128, 256)


def write_pictures(folder: Path, count: int, tones: tuple[int, int], seed: int) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(rng.integers(*tones, size=(16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def pictures(tiny_bundle: Path, tmp_path: Path) -> list[str | Path]:
    """Options that name a VAE, and folders of dark harmless pictures and bright unsafe ones."""
    benign = write_pictures(tmp_path / "uploads", 40, DARK, 0)
    unsafe = write_pictures(tmp_path / "daggers", 12, BRIGHT, 1)
    model = ["--model", tiny_bundle / "pipeline"]
    return [*model, "--benign-images", benign, "--unsafe-images", f"violence={unsafe}"]


@pytest.fixture
def calibrated(latent_guard_command: Command, built: Path, pictures: list[Any]) -> Path:
    done = latent_guard_command("concepts", "calibrate", built, "--rate", 0.1, *pictures)
    assert (done.code, done.err) == (0, "")
    return built


def test_a_bank_is_calibrated_on_folders_and_says_so(
    latent_guard_command: Command, tiny_bundle: Path, calibrated: Path, pictures: list[Any]
) -> None:
    shown = latent_guard_command("concepts", "show", calibrated).out
    assert "52 finished pictures, read by the VAE of " in shown
    assert "those of uploads taken to be harmless, those of daggers to show violence" in shown
    assert "its thresholds hold for finished pictures and latents alone" in shown
    report = ConceptBank.load(calibrated).calibration
    assert report is not None
    assert (report.rate, report.of_pictures, len(report.scorings)) == (0.1, True, 2)
    checked = latent_guard_command(
        "check", pictures[3], "--model", tiny_bundle / "pipeline", "--bank", calibrated, "--format", "jsonl"
    )
    found = [json.loads(line) for line in checked.out.splitlines()]
    assert sum(line["decision"] == "flagged" for line in found) <= 4  # a tenth of 40
    assert all(0 <= line["probability"] <= 1 for line in found)


def test_it_is_tested_on_other_pictures_only(
    latent_guard_command: Command, calibrated: Path, pictures: list[Any], tmp_path: Path
) -> None:
    command = ("concepts", "test", calibrated)
    again = latent_guard_command(*command, *pictures)
    assert (again.code, "uploads holds the images that" in again.err) == (2, True)
    fresh = write_pictures(tmp_path / "fresh", 30, DARK, 2)
    done = latent_guard_command(*command, *pictures[:2], "--benign-images", fresh)
    assert done.code == 0
    assert "of 30 over a threshold" in done.out


def test_files_of_raw_latents_count_a_row_each_and_a_record_spares_reading_again(
    latent_guard_command: Command, built: Path, pictures: list[Any], tmp_path: Path
) -> None:
    save_file({"latents": torch.randn(7, 4, 8, 8)}, tmp_path / "uploads" / "more.safetensors")
    command = ("concepts", "calibrate", built, "--rate", 0.1, *pictures, "--record", tmp_path / "seen.safetensors")
    assert latent_guard_command(*command).code == 0
    seen = CalibrationSet.load(tmp_path / "seen.safetensors")
    assert (len(seen), int(seen.unsafe.sum()), seen.of_pictures) == (59, 12, True)
    again = latent_guard_command(*command)
    assert (again.code, "--benign-images, --unsafe-images not looked at" in again.err) == (0, True)


def test_thresholds_of_pictures_are_refused_at_steps_and_taken_at_the_decoder(
    calibrated: Path, tiny_bundle: Path
) -> None:
    pipe = tiny_pipeline(pixels=16)
    guard = LatentGuard.from_pretrained(tiny_bundle / "guard", calibrated)
    with pytest.raises(InputError, match='gate="decode"'):
        guard.attach(pipe)
    with pytest.raises(InputError, match="say nothing of the steps"):
        guard.generate(pipe, "a fork", seed=0)
    with guard.attach(pipe, "flag", gate="decode") as watch:
        pipe("a fork", num_inference_steps=2)
    assert len(watch.verdicts) == 1


def test_it_is_not_tested_on_generations(
    latent_guard_command: Command, calibrated: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "benign.csv").write_text("prompt,categories,evaluation_seed\na fork,,1\n")
    options = ("--model", tiny_bundle / "pipeline", "--benign", tmp_path / "benign.csv", "--images", 1, "--steps", 2)
    done = latent_guard_command("concepts", "test", calibrated, *options)
    assert (done.code, "say nothing of the steps" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--steps", "3"], "--steps is for images that are generated"),
        (["--unsafe-images", "nonsense"], "nonsense is not CATEGORY=FOLDER"),
        (["--unsafe-images", "gore={uploads}"], "the bank has no category 'gore'; name one of violence"),
        (["--benign-images", "{empty}"], "holds no picture and no latents"),
        (["--benign-images", "{nowhere}"], "needs a folder of harmless pictures"),
        (["--benign-images", "{broken}"], "broken.png: "),
        (["--benign-images", "{moving}"], "moving.gif: it has 2 frames"),
        (["--unsafe-images", "violence={uploads}"], "lies among the harmless pictures and the unsafe ones"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    latent_guard_command: Command, built: Path, pictures: list[Any], tmp_path: Path, change: list[str], said: str
) -> None:
    places = {name: tmp_path / name for name in ("uploads", "empty", "nowhere", "broken", "moving")}
    for name in ("empty", "broken", "moving"):
        places[name].mkdir()
    frames = [Image.new("RGB", (16, 16), color) for color in ("navy", "gold")]
    frames[0].save(places["moving"] / "moving.gif", save_all=True, append_images=frames[1:])
    (places["broken"] / "broken.png").write_text("not a picture")
    words = [word.format(**places) for word in change]
    done = latent_guard_command("concepts", "calibrate", built, *pictures, *words)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert said in done.err


def test_unsafe_pictures_alone_are_not_enough(latent_guard_command: Command, built: Path, pictures: list[Any]) -> None:
    done = latent_guard_command("concepts", "calibrate", built, *pictures[:2], *pictures[4:])
    assert (done.code, "--benign-images" in done.err) == (2, True)
