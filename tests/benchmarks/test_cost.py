"""The cost benchmark in miniature: the figures mean nothing, the files must be whole."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.emoji_world.rows import cost as cost_rows
from latent_guard.guidance.policy import SAFE
from tests.bench.stand_ins import small_workbench

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GENERATIONS = ["unguarded generation", "guarded, benign", "guarded, steered"]


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not (BENCHMARKS / "cost.py").exists():
        pytest.skip("the benchmarks lie beside the package in its repository only")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("cost")


@pytest.mark.parametrize(
    ("case", "sld"), [pytest.param("SDXL 512 px", True, marks=pytest.mark.slow), ("FLUX.1 1024 px", False)]
)
def test_every_part_is_timed_and_counted(cost: ModuleType, tmp_path: Path, case: str, sld: bool) -> None:
    cost.main(["--miniature", "--runs", "1", "--only", case, "--out", str(tmp_path)])
    (measured,) = json.loads((tmp_path / "cost.json").read_text()).values()
    lines = {line["part"]: line for line in measured["lines"]}
    methods = GENERATIONS + ["SLD"] * sld
    assert list(lines) == [
        "one look",
        "one push",
        "VAE decode",
        "decode + pixel CLIP B/16",
        "one row of the denoiser",
        *methods,
    ]
    assert all(line["seconds"] > 0 and line["gflop"] > 0 for line in lines.values())
    assert lines["guarded, benign"]["checks"] > 1
    assert [lines[method]["pushes"] for method in GENERATIONS] == [0, 0, SAFE.max_pushes]
    assert lines["unguarded generation"]["gflop"] < lines["guarded, benign"]["gflop"]
    assert len(measured["rows"]) == 3 + sld
    with open(tmp_path / "cost.csv", newline="") as file:
        assert [line["part"] for line in csv.DictReader(file)] == list(lines)


def test_generations_that_do_not_fit_are_added_up_from_their_parts(cost: ModuleType) -> None:
    from latent_guard.guidance.verdict import Cost

    case, timing = cost.CASES["SDXL 512 px"], importlib.import_module("timing").Timing
    seconds = {"one row of the denoiser": 1.0, "VAE decode": 4.0, "one look": 0.1, "one push": 2.0}
    timed = {part: timing((value,) * 3, None) for part, value in seconds.items()}
    costs = {"guarded, benign": Cost(checks=8), "guarded, steered": Cost(checks=8, pushes=4)}
    benign, steered = cost.added_up(case, "a CPU", timed, costs)
    assert (benign.measured, benign.reached) == (f"+{0.8 / 64:.2%}", True)
    assert (steered.measured, steered.reached) == (f"+{8.8 / 64:.2%}", False)
    assert cost.added_up(case, "a CPU", {"one look": timed["one look"]}, costs) == []


@pytest.mark.slow
def test_arithmetic_of_the_published_sizes_is_that_of_the_published_sizes(cost: ModuleType) -> None:
    gflop = cost.arithmetic(cost.CASES["SDXL 512 px"], miniature=False, costs={})
    assert gflop["VAE decode"] == pytest.approx(2515, rel=0.01)
    assert gflop["one look"] == pytest.approx(11, rel=0.05)
    assert gflop["unguarded generation"] == pytest.approx(30 * 2 * 1589 + 2515, rel=0.01)
    assert gflop["SLD"] == pytest.approx(30 * 3 * 1589 + 2515, rel=0.01)


def test_one_more_row_is_computed_and_dropped(cost: ModuleType) -> None:
    import torch

    parts = importlib.import_module("parts")
    rows = []

    class Denoiser(torch.nn.Module):
        def forward(self, sample: torch.Tensor, timestep: int, words: torch.Tensor) -> tuple[torch.Tensor]:
            rows.append((len(sample), len(words)))
            return (sample,)

    denoiser, sample = Denoiser(), torch.randn(2, 3)
    with parts.one_more_row(denoiser):
        (output,) = denoiser(sample, 5, words=torch.zeros(2, 4))
    assert torch.equal(output, sample)
    denoiser(sample, 5, words=torch.zeros(2, 4))
    assert rows == [(3, 3), (2, 2)]


def test_miniatures_do_not_land_among_the_results(cost: ModuleType) -> None:
    with pytest.raises(SystemExit):
        cost.main(["--miniature"])


def test_the_page_repeats_the_measured_ratios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = small_workbench(tmp_path, tmp_path)
    monkeypatch.setattr(cost_rows, "COST_RESULTS", tmp_path / "cost.json")
    (missing,) = cost_rows.published_architectures(bench)
    assert missing.reached is None
    row = {"what": "SDXL: guarded, against unguarded", "target": "<= +2%", "measured": "+1%", "samples": 10}
    content = {"SDXL, a GPU": {"rows": [{**row, "reached": True, "note": ""}]}}
    (tmp_path / "cost.json").write_text(json.dumps(content))
    (found,) = cost_rows.published_architectures(bench)
    assert (found.measured, found.reached) == ("+1%", True)
