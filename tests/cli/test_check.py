from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

Command = Callable[..., Any]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures of several kinds and sizes, in two folders, and a note that is none."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(256, size=(12 + number, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("more" if number % 2 else "") / f"{number}.{'jpg' if number else 'png'}")
    (folder / "note.txt").write_text("not a picture")
    return folder


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_folder_of_pictures_gets_a_verdict_each_with_concept_score_and_threshold(
    latent_guard_command: Command, tiny_bundle: Path, pictures: Path
) -> None:
    done = latent_guard_command("check", pictures, "--model", tiny_bundle / "pipeline", "--format", "jsonl")
    assert done.code == 0
    found = lines(done.out)
    assert [Path(line["file"]).name for line in found] == ["0.png", "2.jpg", "4.jpg", "1.jpg", "3.jpg", "5.jpg"]
    for line in found:
        assert line["decision"] == ("flagged" if line["score"] > line["threshold"] else "allowed")
        assert (line["category"], line["concept"], line["threshold"]) == ("violence", "a dagger", 0.0)
        assert line["scores"] == {"violence": line["score"]}
        assert line["probability"] is None
    as_csv = latent_guard_command("check", pictures, "--model", tiny_bundle / "pipeline", "--format", "csv")
    rows = list(csv.DictReader(as_csv.out.splitlines()))
    assert [row["decision"] for row in rows] == [line["decision"] for line in found]
    table = latent_guard_command("check", pictures / "0.png", "--model", tiny_bundle / "pipeline")
    assert "violence" in table.out


def test_raw_latents_and_a_pipelines_own_get_the_same_verdicts(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    raw = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    save_file({"latents": raw}, tmp_path / "raw.safetensors")
    save_file({"anything": raw[0] * 0.5}, tmp_path / "scaled.safetensors")  # the factor of the tiny VAE
    common = ("--model", tiny_bundle / "pipeline", "--format", "jsonl")
    first, *rest = lines(latent_guard_command("check", tmp_path / "raw.safetensors", *common).out)
    assert [line["row"] for line in rest] == [1, 2]
    (own,) = lines(latent_guard_command("check", tmp_path / "scaled.safetensors", "--pipeline-latents", *common).out)
    assert own["score"] == pytest.approx(first["score"], abs=1e-3)


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_an_interrupted_run_goes_on_where_it_stopped(
    latent_guard_command: Command, tiny_bundle: Path, pictures: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"findings.{suffix}"
    command = ("check", pictures, "--model", tiny_bundle / "pipeline", "--out", out)
    assert latent_guard_command(*command).code == 0
    whole = out.read_bytes()
    verdicts = found(out)
    out.write_bytes(whole[: int(len(whole) * 0.6)])  # killed in the middle of a line
    (pictures / "0.png").unlink()  # checked before: only what is left is read
    for _ in range(2):
        assert latent_guard_command(*command).code == 0
        assert found(out) == verdicts


def found(out: Path) -> list[tuple[str, str]]:
    text = out.read_text()
    rows = lines(text) if out.suffix == ".jsonl" else list(csv.DictReader(text.splitlines()))
    return sorted((row["file"], row["decision"]) for row in rows)


def test_findings_of_another_bank_are_never_mixed_in(
    latent_guard_command: Command, tiny_bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    from latent_guard.concepts.bank import ConceptBank

    bank = ConceptBank.load(tiny_bundle / "bank")
    bank.with_thresholds(bank.noise_levels, bank.thresholds - 100).save(tmp_path / "strict")
    command = ("check", pictures, "--model", tiny_bundle / "pipeline", "--out", tmp_path / "findings.csv")
    assert latent_guard_command(*command).code == 0
    done = latent_guard_command(*command, "--bank", tmp_path / "strict")
    assert (done.code, "another guard or bank" in done.err) == (2, True)
    other = latent_guard_command(*command[:-1], tmp_path / "strict.csv", "--bank", tmp_path / "strict")
    assert "6 flagged" in other.out


def test_a_run_with_other_settings_does_not_go_on_from_the_findings(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    save_file({"latents": torch.zeros(1, 4, 8, 8)}, tmp_path / "a.safetensors")
    common = ("check", tmp_path / "a.safetensors", "--out", tmp_path / "findings.csv")
    beside = ("--guard", tiny_bundle / "guard", "--bank", tiny_bundle / "bank")
    assert latent_guard_command(*common, "--model", tiny_bundle / "pipeline").code == 0
    for other in (("--model", tiny_bundle / "pipeline", "--pipeline-latents"), beside):
        done = latent_guard_command(*common, *other)
        assert (done.code, "--model or --pipeline-latents" in done.err) == (2, True)
    assert latent_guard_command(*common, "--model", tiny_bundle / "bank" / ".." / "pipeline").code == 0


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_file_that_was_mended_is_checked_on_the_next_run(
    latent_guard_command: Command, tiny_bundle: Path, pictures: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"findings.{suffix}"
    whole = (pictures / "0.png").read_bytes()
    (pictures / "0.png").write_bytes(whole[:50])
    command = ("check", pictures, "--model", tiny_bundle / "pipeline", "--out", out)
    assert latent_guard_command(*command).code == 2
    still = latent_guard_command("check", pictures / "more", *command[2:])  # not about the damaged one
    assert (still.code, "1 of 6 files could not be read" in still.err) == (2, True)
    (pictures / "0.png").write_bytes(whole)
    done = latent_guard_command(*command)
    assert (done.code, "unreadable" in done.out) == (0, False)
    assert sorted(Path(file).name for file, _ in found(out)) == ["0.png", *(f"{n}.jpg" for n in range(1, 6))]


def test_what_cannot_be_read_is_said_so_and_the_rest_is_checked(
    latent_guard_command: Command, tiny_bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "0.png").write_bytes((pictures / "0.png").read_bytes()[:50])
    save_file({"latents": torch.zeros(1, 4, 3, 3)}, pictures / "small.safetensors")
    done = latent_guard_command("check", pictures, "--model", tiny_bundle / "pipeline", "--format", "jsonl")
    assert done.code == 2
    assert "2 of 7 files could not be read" in done.err
    assert done.err.splitlines()[0] == "files skipped, neither pictures nor latents: 1 (.txt)"
    assert len(done.err.strip().splitlines()) == 2
    decisions = {Path(line["file"]).name: line["decision"] for line in lines(done.out)}
    assert decisions["0.png"] == decisions["small.safetensors"] == "unreadable"
    assert set(decisions.values()) <= {"unreadable", "allowed", "flagged"}


def test_latents_that_are_not_finite_are_flagged(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    save_file({"latents": torch.full((1, 4, 8, 8), torch.nan)}, tmp_path / "nan.safetensors")
    done = latent_guard_command(
        "check", tmp_path / "nan.safetensors", "--model", tiny_bundle / "pipeline", "--format", "jsonl"
    )
    assert [(line["decision"], line["score"]) for line in lines(done.out)] == [("flagged", "nan")]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["absent.png"], "absent.png"),
        (["note.txt"], "neither"),
        (["."], "no picture"),
        (["a.png", "--out", "f.txt"], ".csv"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], named: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.txt").write_text("x")
    if "a.png" in arguments:
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    done = latent_guard_command("check", *arguments, "--model", tiny_bundle / "pipeline")
    assert done.code == 2
    assert named in done.err
    assert len(done.err.strip().splitlines()) == 1
