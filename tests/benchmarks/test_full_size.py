"""The guard beside models at full size, rehearsed in miniature: the figures mean nothing, the files must be whole."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from latent_guard.guidance.verdict import Cost


def part(name: str) -> Any:
    reason = "the benchmarks lie beside the package in its repository only"
    return pytest.importorskip(f"benchmarks.full_size.{name}", reason=reason)


full_size, generations, models = part("__main__"), part("generations"), part("models")
reno, record, rounds, weights = part("noise_optimisation"), part("record"), part("rounds"), part("weights")
UNGUARDED, BENIGN, STEERED = generations.UNGUARDED, generations.BENIGN, generations.STEERED
LOOK, PUSH = generations.LOOK, generations.PUSH
PICTURES = [model.name for model in models.MODELS if not model.makes_videos]
VIDEOS = [model.name for model in models.MODELS if model.makes_videos]


def rehearsed(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """The lines of a run in miniature; both files must have the same ones."""
    full_size.main(["--miniature", "--out", str(folder), *arguments])
    lines = json.loads((folder / "full_size.json").read_text())["lines"]
    with open(folder / "full_size.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["part"], row["note"]) for row in rows] == [
        (line["model"], line["part"], line["note"]) for line in lines
    ]
    return lines


def require_parts(lines: list[dict[str, Any]], parts: list[str]) -> None:
    assert [line["part"] for line in lines] == parts, lines[-1]["note"]
    assert all(line["seconds"] > 0 and line["ratio"] > 0 for line in lines)
    by_part = {line["part"]: line for line in lines}
    assert by_part[UNGUARDED]["ratio"] == 1
    assert by_part[BENIGN]["checks"] > 1
    assert by_part[BENIGN]["pushes"] == 0
    assert STEERED not in by_part or by_part[STEERED]["pushes"] > 0


def test_one_model_is_measured(tmp_path: Path) -> None:
    lines = rehearsed(tmp_path, "--only", "Z-Image-Turbo")
    require_parts(lines, [UNGUARDED, BENIGN, STEERED, LOOK, PUSH])
    assert {(line["size"], line["setting"]) for line in lines} == {("128 x 128", "4 steps, gate both")}


@pytest.mark.slow
def test_every_model_is_measured(tmp_path: Path) -> None:
    lines = rehearsed(tmp_path)
    for name in PICTURES:
        require_parts([line for line in lines if line["model"] == name], [UNGUARDED, BENIGN, STEERED, LOOK, PUSH])
    for name in VIDEOS:
        require_parts([line for line in lines if line["model"] == name], [UNGUARDED, BENIGN, LOOK])
    optimised = {line["part"]: line for line in lines if line["model"] == reno.MODEL}
    assert list(optimised) == [reno.OURS, reno.THEIRS]
    assert all(line["seconds"] > 0 and line["ratio"] > 0 for line in optimised.values())


@pytest.mark.parametrize("model", models.MODELS, ids=lambda model: model.name)
def test_a_denoiser_has_the_published_number_of_parameters(model: Any) -> None:
    with torch.device("meta"):
        denoiser = model.denoiser(False)
    assert weights.count(denoiser) / 1e9 == pytest.approx(model.billions, rel=0.005)
    assert all(len(denoiser.get_submodule(name)) > 1 for name in model.repeats)


def test_one_block_stands_for_all() -> None:
    whole, nothing = weights.materialised(lambda: models.flux2_dev(True), "cpu", torch.bfloat16)
    small, saved = weights.materialised(lambda: models.flux2_dev(True), "cpu", torch.bfloat16, ["transformer_blocks"])
    assert len({id(block) for block in small.transformer_blocks}) == 1
    assert len(small.transformer_blocks) == len(whole.transformer_blocks)
    left_out = weights.count(whole.transformer_blocks[0])
    assert (nothing, saved) == (0, 2 * left_out / 2**30)
    assert {weight.dtype for weight in small.parameters()} == {torch.bfloat16}
    assert {weight.device.type for weight in small.parameters()} == {"cpu"}


def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"^error: there is no GPU here [^\n]*--miniature[^\n]*$"):
        full_size.main(["--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_what_fails_or_comes_too_late_leaves_a_line_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> Iterator[Any]:
        yield record.Line("first", part=UNGUARDED)
        raise ValueError("out of order")

    def late(*_: Any) -> Iterator[Any]:
        rounds.Clock.of(0).require(30)
        yield record.Line("second")

    def fine(*_: Any) -> Iterator[Any]:
        yield record.Line("third", part=UNGUARDED)

    monkeypatch.setattr(full_size, "measurements", lambda: {"first": failing, "second": late, "third": fine})
    assert [(line["model"], line["part"], line["note"]) for line in rehearsed(tmp_path)] == [
        ("first", UNGUARDED, ""),
        ("first", "", "failed: ValueError: out of order"),
        ("second", "", "not measured: 0 s were left, 30 s are needed"),
        ("third", UNGUARDED, ""),
    ]


def test_without_time_nothing_is_begun(tmp_path: Path) -> None:
    lines = rehearsed(tmp_path, "--minutes", "0", "--only", "SDXL", "--only", reno.MODEL)
    assert [line["model"] for line in lines] == ["SDXL", reno.MODEL]
    assert all(line["note"].startswith("not measured: 0 s were left") for line in lines)


def test_rounds_end_with_the_time() -> None:
    assert len(rounds.in_rounds({"work": lambda: None}, 5, rounds.Clock.of(1))["work"].seconds) == 5
    assert len(rounds.in_rounds({"work": lambda: None}, 5, rounds.Clock.of(0))["work"].seconds) == 1
    with pytest.raises(rounds.OutOfTimeError):
        rounds.Clock.of(0).require(1)


def test_ratios_are_of_rounds_and_peaks_count_the_weights_that_were_left_out() -> None:
    timing = pytest.importorskip("benchmarks.timing")
    plain = rounds.without(timing.Timing((1.0, 2.0, 4.0), 11.0), 1.0)  # of the guard's own
    timings = {"plain": plain, "other": timing.Timing((2.0, 4.0, 4.0), 12.0)}
    line = record.line_of(record.Line("a model"), "other", timings, "plain", left_out_gib=10.0, cost=Cost(checks=3))
    assert (line.seconds, line.least, line.most, line.runs) == (4.0, 2.0, 4.0, 3)
    assert (line.ratio, line.peak_gib, line.peak_ratio, line.checks) == (2.0, 22.0, 1.1, 3)
