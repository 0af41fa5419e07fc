"""The world's benchmark from end to end, on an untrained bundle: the figures mean nothing, the page must be whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.emoji_world.benchmark import ROWS, run_benchmark
from benchmarks.emoji_world.human_labels import export_sheets
from benchmarks.emoji_world.rows import cost as cost_rows
from latent_guard.bench.runs import execute as harness
from latent_guard.bench.runs.provenance import manifest_hash
from latent_guard.bench.runs.run import run
from tests.bench.stand_ins import small_workbench


@pytest.mark.slow
def test_every_row_of_the_table_is_measured_and_written(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_rows, "_command_seconds", lambda: 1.5)  # the command itself is tested with the bundle
    monkeypatch.chdir(tmp_path)
    bench = small_workbench(tiny_bundle, tmp_path / "out")
    assert run(bench.opened, bench.folder, "python -m benchmarks.emoji_world emoji").finished
    monkeypatch.setattr(harness, "_generate", None)  # would fail if the rows asked for more than the spec
    rows = run_benchmark(bench, ROWS, tmp_path / "RESULTS.md")
    page = (tmp_path / "RESULTS.md").read_text()
    assert len(rows) >= 20
    assert all(row.what.replace("|", "\\|") in page for row in rows)
    assert f"- bundle: {manifest_hash(tiny_bundle)}" in page
    assert "DPMSolverMultistepScheduler, 2 steps" in page
    assert "no human labels are committed" in page
    methods = json.loads((bench.folder / "summary.json").read_text())["methods"]
    assert list(methods["guard(policy=steer)"]) == ["risky"]


def test_a_second_run_takes_methods_and_rows_from_the_first(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [row for row in ROWS if row.__name__ == "steer_alone"]
    first = run_benchmark(small_workbench(tiny_bundle, tmp_path), chosen, tmp_path / "RESULTS.md")
    monkeypatch.setattr(harness, "_generate", None)  # would fail if anything were generated again
    later = small_workbench(tiny_bundle, tmp_path)
    assert run_benchmark(later, chosen, tmp_path / "RESULTS.md") == first
    unguarded = [row for row in ROWS if row.__name__ == "risky_unguarded"]
    run_benchmark(later, unguarded, tmp_path / "RESULTS.md")
    page = (tmp_path / "RESULTS.md").read_text()
    assert page.index("risky prompts, unguarded") < page.index("`--policy steer` alone")


def test_sheets_for_human_labels_come_from_the_benchmarks_own_methods(tiny_bundle: Path, tmp_path: Path) -> None:
    files = export_sheets(small_workbench(tiny_bundle, tmp_path), tmp_path / "labels")
    assert [file.name for file in files] == ["sheet-1.png", "labels.csv"]
