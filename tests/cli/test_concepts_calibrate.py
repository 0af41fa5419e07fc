"""``concepts calibrate`` and ``test``: what they may be told, and that no image serves both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from latent_guard.cli.calibration_images import labelled_prompts_of_files
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibration_set import CalibrationSet

Command = Callable[..., Any]
ROWS = "prompt,categories,evaluation_seed\n"
BENIGN = ROWS + "".join(f"a fork number {n},,{n}\n" for n in range(8))
UNSAFE = ROWS + "".join(f"a dagger number {n},violence,{n}\n" for n in range(4))
LOWEST_32_BITS = 2**32 - 1  # all that PyTorch's generator on the CPU reads of a seed


@pytest.fixture
def sources(tiny_bundle: Path, tmp_path: Path) -> list[str | Path | int]:
    """Options that name a pipeline and prompts of one's own."""
    (tmp_path / "benign.csv").write_text(BENIGN)
    (tmp_path / "unsafe.csv").write_text(UNSAFE)
    lists = ["--benign", tmp_path / "benign.csv", "--unsafe", tmp_path / "unsafe.csv"]
    return [*lists, "--model", tiny_bundle / "pipeline", "--steps", 2, "--images", 48]


def test_a_bank_is_calibrated_on_prompts_of_ones_own_and_tested_on_other_images(
    latent_guard_command: Command, tiny_bundle: Path, built: Path, tmp_path: Path, sources: list[Any]
) -> None:
    seen, fresh = tmp_path / "seen.safetensors", tmp_path / "fresh.safetensors"
    done = latent_guard_command("concepts", "calibrate", built, "--rate", 0.1, *sources, "--record", seen)
    assert done.code == 0
    assert done.err.startswith("warning: benign.csv holds 8 prompts for 48 images and unsafe.csv holds 4 prompts for ")
    assert ("images come in clusters" in done.err, len(done.err.splitlines())) == (True, 1)
    assert "at most 10.0% of harmless images" in done.out
    recorded = CalibrationSet.load(seen)
    assert (len(recorded), int(recorded.unsafe.sum()), recorded.categories) == (60, 12, ("violence",))
    assert float(recorded.noise_levels[-1]) == 0.0
    assert "drawn for calibration" in recorded.made_by
    bank = ConceptBank.load(built)
    assert bank.calibration is not None
    assert {figure.method for figure in bank.calibration.scorings} == {"log-sum-exp", "mean"}
    assert "expected calibration error" in latent_guard_command("concepts", "show", built).out
    assert latent_guard_command("concepts", "test", built, *sources, "--record", fresh).code == 0
    assert not any((row == recorded.features).all(dim=(1, 2)).any() for row in CalibrationSet.load(fresh).features)
    (tmp_path / "benign.csv").unlink()  # what was seen is on record: nothing is generated again
    tested = latent_guard_command("concepts", "test", built, "--record", fresh)
    assert (tested.code, tested.err) == (0, "")
    assert "drawn for test" in tested.out
    assert "the chosen rate of 10.0%" in tested.out
    checked = latent_guard_command(
        "check", _picture(tmp_path), "--model", tiny_bundle / "pipeline", "--bank", built, "--format", "jsonl"
    )
    assert 0 <= json.loads(checked.out)["probability"] <= 1


def _picture(folder: Path) -> Path:
    Image.new("RGB", (30, 30), "navy").save(folder / "navy.png")
    return folder / "navy.png"


def test_a_bank_is_not_tested_on_the_images_that_it_was_calibrated_on(
    latent_guard_command: Command, built: Path, tmp_path: Path, sources: list[Any]
) -> None:
    seen = tmp_path / "seen.safetensors"
    assert latent_guard_command("concepts", "calibrate", built, "--rate", 0.1, *sources, "--record", seen).code == 0
    done = latent_guard_command("concepts", "test", built, "--record", seen)
    assert (done.code, done.out) == (2, "")
    assert "holds the images that" in done.err
    assert len(done.err.splitlines()) == 1


def test_options_that_a_record_makes_idle_are_named(
    latent_guard_command: Command, built: Path, tmp_path: Path, sources: list[Any]
) -> None:
    seen = tmp_path / "seen.safetensors"
    command = ("concepts", "calibrate", built, "--rate", 0.1, "--record", seen)
    assert latent_guard_command(*command, *sources).code == 0
    done = latent_guard_command(*command, "--images", 7, "--policy", "strict")
    assert (done.code, done.err) == (0, f"{seen} is there and used as it is: --images, --policy not looked at\n")


def test_plots_without_unsafe_images_are_refused_before_anything_is_made(
    latent_guard_command: Command, built: Path, tmp_path: Path, sources: list[Any]
) -> None:
    seen, before = tmp_path / "seen.safetensors", (built / "bank.json").read_bytes()
    command = ("concepts", "calibrate", built, "--rate", 0.1, "--record", seen)
    harmless, plots = (*sources[:2], *sources[4:]), ("--plots", tmp_path / "plots")
    done = latent_guard_command(*command, *harmless, *plots)
    assert (done.code, "--unsafe" in done.err, seen.exists()) == (2, True, False)
    assert latent_guard_command(*command, *harmless, "--out", tmp_path / "other").code == 0
    done = latent_guard_command(*command, *plots)  # the record shows nothing unsafe either
    assert (done.code, "unsafe images" in done.err) == (2, True)
    assert (built / "bank.json").read_bytes() == before


def test_calibration_and_test_never_draw_the_same_image(tmp_path: Path) -> None:
    path = tmp_path / "benign.csv"
    path.write_text(ROWS + "".join(f"a fork,,{seed}\n" for seed in range(50)))
    jobs = {stream: labelled_prompts_of_files(stream, path, None, 200).jobs for stream in ("calibration", "test")}
    drawn = {stream: {(prompt, seed & LOWEST_32_BITS) for prompt, seed in rows} for stream, rows in jobs.items()}
    assert [len(seeds) for seeds in drawn.values()] == [200, 200]
    assert not drawn["calibration"] & drawn["test"]
    assert [seed for _, seed in jobs["calibration"][:50]] == list(range(50))  # the list's own
