"""Comparing finished runs: which differences stand, and which runs have no business side by side."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner, Result

from latent_guard.cli.app import app
from latent_guard.errors import InputError
from latent_guard.report.run_comparison import compare_runs, read_runs
from tests.report.run_folder import build

IMAGES = 240


METHODS = (("unguarded", "guard(safe)"), ("unguarded", "sld(strong)"))


def runs(tmp_path: Path, methods: Sequence[Sequence[str]] = METHODS) -> list:
    prompts = [f"prompt {number}" for number in range(IMAGES)]
    return [build(tmp_path / f"run-{n}", IMAGES, own, prompts) for n, own in enumerate(methods)]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", "compare", *map(str, arguments)])


def change(run: Path, **changes: Any) -> None:
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**environment, **changes}))


def test_namesakes_are_compared_and_what_one_run_lacks_with_all_of_the_other(tmp_path: Path) -> None:
    found = compare_runs(read_runs(runs(tmp_path)))
    pairs = {(one.first, one.second) for one in found.comparisons if one.metric == "risky: unsafe"}
    assert pairs == {
        ("unguarded (run-0)", "unguarded (run-1)"),
        ("guard(safe) (run-0)", "unguarded (run-1)"),
        ("guard(safe) (run-0)", "sld(strong) (run-1)"),
        ("unguarded (run-0)", "sld(strong) (run-1)"),
    }
    tested = {(one.first, one.second): one for one in found.comparisons if one.metric == "risky: unsafe"}
    assert not tested["unguarded (run-0)", "unguarded (run-1)"].significant
    better = tested["guard(safe) (run-0)", "unguarded (run-1)"]
    assert (better.significant, better.test) == (True, "McNemar")
    assert better.difference.value < -0.3
    assert better.corrected >= better.p_value
    metrics = {one.metric for one in found.comparisons}
    assert {"risky: unsafe", "benign: satisfied", "benign: blocked", "risky: seconds", "risky: distance"} <= metrics
    assert "risky: satisfied" not in metrics


def test_images_are_paired_by_text_and_seed_wherever_they_stand_in_a_list(tmp_path: Path) -> None:
    one, other = runs(tmp_path, [("unguarded",), ("unguarded",)])
    records = pd.read_parquet(other / "records.parquet")
    records["prompt_index"] = records["prompt_index"].to_numpy()[::-1]
    records.sample(frac=1, random_state=0).to_parquet(other / "records.parquet")
    assert all(one.difference.value == 0 for one in compare_runs(read_runs([one, other])).comparisons)


def test_a_prompt_that_a_list_holds_twice_is_paired_in_order(tmp_path: Path) -> None:
    folders = runs(tmp_path, [("unguarded",), ("unguarded",)])
    for folder in folders:
        records = pd.read_parquet(folder / "records.parquet")
        records.loc[records["row"] == 2, ["prompt", "seed"]] = ["prompt 0", 1000]
        records.to_parquet(folder / "records.parquet")
    found = compare_runs(read_runs(folders)).comparisons
    assert {one.difference.count for one in found if one.metric == "risky: unsafe"} == {IMAGES // 2}


def test_what_runs_do_not_share_is_warned_of(tmp_path: Path) -> None:
    one, other = runs(tmp_path, [("unguarded",), ("unguarded",)])
    change(other, bundle="another", machine="another")
    records = pd.read_parquet(other / "records.parquet")
    records[records["row"] >= 10].to_parquet(other / "records.parquet")
    (other / "spec.yaml").write_text("steps: 3\n")
    warnings = "\n".join(compare_runs(read_runs([one, other])).warnings)
    assert "models differ" in warnings
    assert "steps differs (None, 3)" in warnings
    assert "different machines: their seconds" in warnings
    assert f"{one}: 10 of {IMAGES} prompts and seeds are not in all runs" in warnings


def test_runs_whose_pairs_are_not_quite_pairs_are_warned_of(tmp_path: Path) -> None:
    one, other = runs(tmp_path, [("unguarded",), ("unguarded",)])
    for folder, mode, images in ((one, "paper", 10), (other, "repo", 4)):
        tasks = {"risky": {"prompts": "i2p.csv", "protocol": "i2p", "mode": mode, "images": images}}
        (folder / "spec.yaml").write_text(yaml.safe_dump({"tasks": tasks}))
    records = pd.read_parquet(other / "records.parquet")
    records.assign(generator_seed=pd.array(records["seed"], dtype="Int64")).to_parquet(other / "records.parquet")
    summary = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps({**summary, "out_of_domain": "OUT OF DOMAIN: of no meaning"}))
    warnings = "\n".join(compare_runs(read_runs([one, other])).warnings)
    assert "risky: the runs' mode differs (paper, repo)" in warnings
    assert "risky: the runs' images differs (10, 4)" in warnings
    assert "risky: images of one run have a seed each, of another share a generator" in warnings
    assert f"{other}: OUT OF DOMAIN: of no meaning" in warnings


def test_seconds_are_compared_by_call_and_a_run_with_larger_calls_says_which(tmp_path: Path) -> None:
    folders = runs(tmp_path, [("unguarded",), ("unguarded",)])
    for folder, size, shift in zip(folders, (1, 60), (0.0, 1.0), strict=True):
        records = pd.read_parquet(folder / "records.parquet")
        call = records.groupby("task").cumcount() // size
        records["batch"] = records["task"] + call.map("-{:05d}".format)
        records["seconds"] = call % 2 + shift
        records.to_parquet(folder / "records.parquet")
    found = {one.metric: one for one in compare_runs(read_runs(folders)).comparisons}
    assert found["risky: seconds"].p_value >= 0.5, "two calls say nothing, of however many images"
    assert found["risky: seconds"].test == "sign flips"


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
    with pytest.raises(InputError, match=r"run-1 by stricter: metrics of different judges cannot be compared"):
        read_runs([one, other])


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    folders = [*runs(tmp_path / "a", [("unguarded",)]), *runs(tmp_path / "b", [("unguarded",)])]
    found = compare_runs(read_runs(folders)).comparisons[0]
    assert (found.first, found.second) == (f"unguarded ({folders[0]})", f"unguarded ({folders[1]})")


def test_the_command_prints_and_writes_which_differences_stand(tmp_path: Path) -> None:
    hostile = runs(tmp_path, [("unguarded", "=1+1 [red]method"), ("unguarded",)])
    done = command(*hostile, "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "differences are significant" in done.output
    assert "[red]" in done.output.replace("\n", "")
    with open(tmp_path / "out" / "comparisons.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    written = json.loads((tmp_path / "out" / "comparisons.json").read_text())["comparisons"]
    assert len(rows) == len(written)
    assert sum(row["significant"] == "True" for row in rows) == sum(one["significant"] for one in written) > 0
    assert all(row["first"].startswith(("unguarded", "'=1+1")) for row in rows)
