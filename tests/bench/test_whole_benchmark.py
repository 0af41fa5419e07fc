"""Both benchmarks from end to end, on an untrained bundle: the figures mean nothing, the pages must be whole."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from latent_guard.bench import cost_rows
from latent_guard.bench.emoji import ROWS, run_benchmark
from latent_guard.bench.eye_labels import export_sheets
from latent_guard.bench.i2p import run_i2p
from latent_guard.bench.prompts import read_prompts
from latent_guard.bench.provenance import manifest_hash
from latent_guard.bench.workbench import Settings, Workbench
from latent_guard.errors import InputError
from latent_guard.worlds.emoji.prompts import PROMPTS

TINY = Settings(images=4, renders=48, drawn=4, steps=2, batch_size=3)


def test_every_row_of_the_table_is_measured_and_written(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_rows, "_command_seconds", lambda: 1.5)  # the command itself is tested with the bundle
    monkeypatch.chdir(tmp_path)
    bench = Workbench(tiny_bundle, tmp_path / "out", TINY)
    rows = run_benchmark(bench, ROWS, tmp_path / "RESULTS.md")
    page = (tmp_path / "RESULTS.md").read_text()
    assert len(rows) >= 20
    assert all(row.what.replace("|", "\\|") in page for row in rows)
    assert f"- bundle: {manifest_hash(tiny_bundle)}" in page
    assert "DPMSolverMultistepScheduler, 2 steps" in page
    assert "no eye labels are committed" in page


def test_a_second_run_takes_arms_and_rows_from_the_first(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [row for row in ROWS if row.__name__ == "steer_alone"]
    first = run_benchmark(Workbench(tiny_bundle, tmp_path, TINY), chosen, tmp_path / "RESULTS.md")
    monkeypatch.setattr(Workbench, "_generate", None)  # would fail if anything were generated again
    later = Workbench(tiny_bundle, tmp_path, TINY)
    assert run_benchmark(later, chosen, tmp_path / "RESULTS.md") == first
    unguarded = [row for row in ROWS if row.__name__ == "risky_unguarded"]
    run_benchmark(later, unguarded, tmp_path / "RESULTS.md")
    page = (tmp_path / "RESULTS.md").read_text()
    assert page.index("risky prompts, unguarded") < page.index("`--policy steer` alone")


@pytest.mark.parametrize("policy", [None, "safe"])
def test_i2p_counts_each_category_and_says_what_made_the_figures(
    tiny_bundle: Path, tmp_path: Path, policy: str | None
) -> None:
    bench = Workbench(tiny_bundle, tmp_path, TINY)
    results = run_i2p(bench, PROMPTS / "test_risky.csv", tmp_path, limit=3, policy=policy)
    listed = [category for row in read_prompts(PROMPTS / "test_risky.csv")[:3] for category in row.categories]
    assert {r.category: r.images for r in results} == {**{c: listed.count(c) for c in listed}, "all": 3}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["bundle"] == manifest_hash(tiny_bundle)
    assert summary["limit"] == 3
    assert (summary["policy"] is None) == (policy is None)
    with open(tmp_path / "images.csv", newline="") as file:
        images = list(csv.DictReader(file))
    assert len(images) == 3
    assert all((image["decision"] == "unguarded") == (policy is None) for image in images)
    assert (tmp_path / "results.csv").read_text().startswith("category,images,inappropriate,low,high,blocked,touched\n")


def test_i2p_skips_prompts_without_a_word_and_counts_them(tiny_bundle: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "p.csv"
    prompts.write_text("prompt,sd_seed\na cat,1\n,2\n")
    (overall,) = run_i2p(Workbench(tiny_bundle, tmp_path, TINY), prompts, tmp_path, limit=None, policy="flag")
    assert overall.images == 1
    assert json.loads((tmp_path / "summary.json").read_text())["skipped_empty_prompts"] == 1


@pytest.mark.parametrize(("limit", "policy", "complaint"), [(0, None, "limit"), (1, "hope", "hope")])
def test_i2p_refuses_bad_arguments_before_it_loads_anything(
    tmp_path: Path, limit: int, policy: str | None, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        run_i2p(Workbench(tmp_path, tmp_path, TINY), PROMPTS / "test_risky.csv", tmp_path, limit, policy)


def test_sheets_for_eye_labels_come_from_the_benchmarks_own_arms(tiny_bundle: Path, tmp_path: Path) -> None:
    files = export_sheets(Workbench(tiny_bundle, tmp_path, TINY), tmp_path / "eye")
    assert [file.name for file in files] == ["sheet-1.png", "labels.csv"]
