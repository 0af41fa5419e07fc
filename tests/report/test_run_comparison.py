"""Comparing finished runs: which differences stand, and which runs have no business side by side."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from latent_guard.cli.app import app
from latent_guard.errors import InputError
from latent_guard.report.run_comparison import compare_runs, read_runs
from tests.report.run_folder import build

IMAGES = 240


def runs(tmp_path: Path, arms: Sequence[Sequence[str]] = (("none", "guard(safe)"), ("none", "sld(strong)"))) -> list:
    prompts = [f"prompt {number}" for number in range(IMAGES)]
    return [build(tmp_path / f"run-{n}", IMAGES, own, prompts) for n, own in enumerate(arms)]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", "compare", *map(str, arguments)])


def change(run: Path, **changes: Any) -> None:
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**environment, **changes}))


def test_namesakes_are_compared_and_what_one_run_lacks_with_all_of_the_other(tmp_path: Path) -> None:
    found = compare_runs(read_runs(runs(tmp_path)))
    pairs = {(one.first, one.second) for one in found.comparisons if one.metric == "risky: unsafe"}
    assert pairs == {
        ("none (run-0)", "none (run-1)"),
        ("guard(safe) (run-0)", "none (run-1)"),
        ("guard(safe) (run-0)", "sld(strong) (run-1)"),
        ("none (run-0)", "sld(strong) (run-1)"),
    }
    stands = {(one.first, one.second): one for one in found.comparisons if one.metric == "risky: unsafe"}
    assert not stands["none (run-0)", "none (run-1)"].stands
    better = stands["guard(safe) (run-0)", "none (run-1)"]
    assert (better.stands, better.test) == (True, "McNemar")
    assert better.difference.value < -0.3
    assert better.corrected >= better.p_value
    metrics = {one.metric for one in found.comparisons}
    assert {"risky: unsafe", "benign: found", "benign: blocked", "risky: seconds", "risky: distance"} <= metrics
    assert "risky: found" not in metrics


def test_images_are_paired_by_text_and_seed_wherever_they_stand_in_a_list(tmp_path: Path) -> None:
    one, other = runs(tmp_path, [("none",), ("none",)])
    records = pd.read_parquet(other / "records.parquet")
    records["prompt_index"] = records["prompt_index"].to_numpy()[::-1]
    records.sample(frac=1, random_state=0).to_parquet(other / "records.parquet")
    assert all(one.difference.value == 0 for one in compare_runs(read_runs([one, other])).comparisons)


def test_a_prompt_that_a_list_holds_twice_is_paired_in_order(tmp_path: Path) -> None:
    folders = runs(tmp_path, [("none",), ("none",)])
    for folder in folders:
        records = pd.read_parquet(folder / "records.parquet")
        records.loc[records["row"] == 2, ["prompt", "seed"]] = ["prompt 0", 1000]
        records.to_parquet(folder / "records.parquet")
    found = compare_runs(read_runs(folders)).comparisons
    assert {one.difference.count for one in found if one.metric == "risky: unsafe"} == {IMAGES // 2}


def test_what_runs_do_not_share_is_warned_of(tmp_path: Path) -> None:
    one, other = runs(tmp_path, [("none",), ("none",)])
    change(other, bundle="another", machine="another")
    records = pd.read_parquet(other / "records.parquet")
    records[records["row"] >= 10].to_parquet(other / "records.parquet")
    (other / "spec.yaml").write_text("steps: 3\n")
    warnings = "\n".join(compare_runs(read_runs([one, other])).warnings)
    assert "models differ" in warnings
    assert "steps differs (None, 3)" in warnings
    assert "different machines: their seconds" in warnings
    assert f"{one}: 10 of {IMAGES} prompts and seeds are not in all runs" in warnings


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    one, other = runs(tmp_path)
    with pytest.raises(InputError, match="name two runs or more"):
        read_runs([one])
    with pytest.raises(InputError, match="run-0 is named twice; a run has no difference to itself"):
        read_runs([one, tmp_path / "." / "run-0"])
    with pytest.raises(InputError, match="finished `latent-guard bench run`"):
        read_runs([one, tmp_path])
    records = pd.read_parquet(other / "records.parquet")
    records.assign(seed=records["seed"] + 7000).to_parquet(other / "records.parquet")
    with pytest.raises(InputError, match="run-0 and run-1 have no image of the same task, prompt and seed"):
        compare_runs(read_runs([one, other]))
    change(other, judge="stricter")
    with pytest.raises(InputError, match=r"run-1 by stricter: figures of different judges cannot be compared"):
        read_runs([one, other])


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    folders = [*runs(tmp_path / "a", [("none",)]), *runs(tmp_path / "b", [("none",)])]
    found = compare_runs(read_runs(folders)).comparisons[0]
    assert (found.first, found.second) == (f"none ({folders[0]})", f"none ({folders[1]})")


def test_the_command_prints_and_writes_which_differences_stand(tmp_path: Path) -> None:
    hostile = runs(tmp_path, [("none", "=1+1 [red]arm"), ("none",)])
    done = command(*hostile, "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "differences stand" in done.output
    assert "[red]" in done.output.replace("\n", "")
    with open(tmp_path / "out" / "comparisons.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    written = json.loads((tmp_path / "out" / "comparisons.json").read_text())["comparisons"]
    assert len(rows) == len(written)
    assert sum(row["stands"] == "True" for row in rows) == sum(one["stands"] for one in written) > 0
    assert all(row["first"].startswith(("none", "'=1+1")) for row in rows)
