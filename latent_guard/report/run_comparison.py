"""Significant differences between finished runs, whose images are paired by task, prompt text and seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from latent_guard.bench.metrics.significance import Comparison, Outcomes, compare, corrected
from latent_guard.building import checked
from latent_guard.errors import InputError
from latent_guard.files.csv_text import table_csv
from latent_guard.files.documents import yaml_value
from latent_guard.files.json_text import json_text
from latent_guard.report.run_folder import Run, read_run

FLAGS = ("unsafe", "satisfied", "blocked")
NUMBERS = ("clip_score", "distance", "seconds")
PER_CALL = "seconds"  # measured once for all images of a call
_KEY = ["task", "prompt", "seed", "copy"]
_MADE_WITH = {"bundle": "models", "scheduler": "schedulers", "grader": "graders"}
_SPEC_KEYS = ("model", "steps", "guidance_scale")
_TASK_KEYS = ("protocol", "mode", "images")


@dataclass(frozen=True)
class RunComparison:
    """Every comparison between methods of different runs, corrected for their number, and warnings about them."""

    comparisons: tuple[Comparison, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> bytes:
        content = {"comparisons": self._rows(), "warnings": self.warnings}
        return (json_text(content, 1) + "\n").encode()

    def to_csv(self) -> bytes:
        """Write a row a comparison; no cell runs as a formula in a spreadsheet."""
        return table_csv(pd.DataFrame(self._rows()), "\r\n")

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for comparison in self.comparisons:
            difference = comparison.difference
            rows.append(
                {
                    "metric": comparison.metric,
                    "first": comparison.first,
                    "second": comparison.second,
                    "difference": difference.value,
                    "low": difference.low if isfinite(difference.low) else None,  # one prompt has no interval
                    "high": difference.high if isfinite(difference.high) else None,
                    "pairs": difference.count,
                    "test": comparison.test,
                    "p_value": comparison.p_value,
                    "corrected": comparison.corrected,
                    "significant": comparison.significant,
                }
            )
        return rows


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read finished runs that can be compared.

    Raises:
        InputError: there are fewer than two, one is named twice or not finished, or their judges differ.
    """
    if len(folders) < 2:
        raise InputError("name two runs or more; the methods of one run are compared in its own report")
    paths = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, paths, strict=True):
        if paths.count(path) > 1:
            raise InputError(f"{folder} is named twice; a run has no difference to itself")
    runs = [read_run(folder) for folder in folders]
    for run in runs[1:]:
        if run.environment.get("judge") != runs[0].environment.get("judge"):
            judges = [
                f"{each.folder} by {each.environment.get('judge', 'an unknown judge')}" for each in (runs[0], run)
            ]
            raise InputError(f"{' and '.join(judges)}: metrics of different judges cannot be compared")
    return runs


def compare_runs(runs: Sequence[Run]) -> RunComparison:
    """Compare methods of the same name across runs, and a method of only one of two runs with all of the other's.

    Methods within a run are compared in its own report. Pairs of images have task, prompt text and seed in common;
    images without a pair are left out.

    Raises:
        InputError: no two runs have an image of the same task, prompt and seed.
    """
    names = _names(runs)
    tables = _numbered([run.records for run in runs])
    by_metric: list[tuple[str, list[tuple[Outcomes, Outcomes]]]] = []
    for (name, first), (second_name, second) in combinations(zip(names, tables, strict=True), 2):
        for task in (task for task in first["task"].unique() if task in set(second["task"])):
            first_rows = first[first["task"] == task]
            second_rows = second[second["task"] == task]
            for metric in (*FLAGS, *NUMBERS):
                pairs = list(_pairs(first_rows, second_rows, metric, name, second_name))
                by_metric.append((f"{task}: {metric}", pairs))
    among = sum(len(pairs) for _, pairs in by_metric)
    if not among:
        raise InputError(f"{' and '.join(names)} have no image of the same task, prompt and seed to compare")
    compared = [comparison for metric, pairs in by_metric for comparison in compare(metric, pairs, among)]
    return RunComparison(tuple(corrected(compared)), tuple(_warnings(runs, tables)))


def _pairs(
    first: pd.DataFrame, second: pd.DataFrame, metric: str, name: str, second_name: str
) -> Iterator[tuple[Outcomes, Outcomes]]:
    """Yield the outcomes of two methods that have the metric for a common image."""
    first_methods = list(first["method"].unique())
    second_methods = list(second["method"].unique())
    for method, second_method in product(first_methods, second_methods):
        if method != second_method and method in second_methods and second_method in first_methods:
            continue
        one = _known(first, method, metric)
        two = _known(second, second_method, metric)
        if set(one["pair"]) & set(two["pair"]):
            if metric == PER_CALL:
                one, two = _by_call(one, two)
            yield (
                _outcomes(one, metric, f"{method} ({name})"),
                _outcomes(two, metric, f"{second_method} ({second_name})"),
            )


def _known(records: pd.DataFrame, method: str, metric: str) -> pd.DataFrame:
    return records[(records["method"] == method) & records[metric].notna()]


def _by_call(one: pd.DataFrame, two: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the images that both have, grouped by their calls in the run with the larger calls."""
    one = one[one["pair"].isin(two["pair"])]
    two = two[two["pair"].isin(one["pair"])]
    larger = min(one, two, key=lambda records: records["call"].nunique()).set_index("pair")["call"]
    return one.assign(group=one["pair"].map(larger)), two.assign(group=two["pair"].map(larger))


def _outcomes(records: pd.DataFrame, metric: str, name: str) -> Outcomes:
    values = records[metric].to_numpy(bool if metric in FLAGS else np.float64)
    return Outcomes(name, records["group"].to_numpy(), records["pair"].to_numpy(), values)


def _numbered(records: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Number prompts (``group``), pairs (``pair``: task, prompt, seed and ``copy``) and calls across all runs.

    ``call`` is the call that an image was made in; in a run without recorded calls, its prompt. A list may hold a
    prompt twice with the same seed: then its first image is paired with the other's first.
    """
    copies = [table.assign(copy=table.groupby(["method", *_KEY[:-1]]).cumcount()) for table in records]
    whole = pd.concat(copies, keys=range(len(copies)))
    whole["group"] = whole.groupby("prompt").ngroup()
    whole["pair"] = whole.groupby(_KEY).ngroup()
    batch = whole["batch"] if "batch" in whole else pd.Series(pd.NA, whole.index)
    whole["call"] = whole.groupby(batch.fillna(whole["prompt"]).astype(str)).ngroup()
    return [whole.loc[number] for number in range(len(copies))]


def _warnings(runs: Sequence[Run], tables: Sequence[pd.DataFrame]) -> Iterator[str]:
    for key, name in _MADE_WITH.items():
        if len({str(run.environment.get(key)) for run in runs}) > 1:
            yield f"the runs' {name} differ: so does more than the methods"
    for key in _SPEC_KEYS:
        values = [str(_spec(run).get(key)) for run in runs]
        if len(set(values)) > 1:
            yield f"the runs' {key.replace('_', ' ')} differs ({', '.join(values)}): so does more than the methods"
    yield from _of_tasks(runs)
    if len({str(run.environment.get("machine")) for run in runs}) > 1:
        yield "the runs were made on different machines: their seconds say nothing of the methods"
    if not all(run.environment.get("judge") for run in runs):
        yield "no run says which judge it had"
    for run in runs:
        if run.out_of_domain:
            yield f"{run.folder}: {run.out_of_domain}"
    for task in dict.fromkeys(task for table in tables for task in table["task"]):
        if len({_shares_generators(table, task) for table in tables if task in set(table["task"])}) > 1:
            yield f"{task}: images of one run have a seed each, of another share a generator; pairs differ by that too"
    common = set.intersection(*(set(table["pair"]) for table in tables))
    for run, table in zip(runs, tables, strict=True):
        if unpaired := table["pair"].nunique() - len(common):
            yield f"{run.folder}: {unpaired} of {table['pair'].nunique()} prompts and seeds are not in all runs"


def _of_tasks(runs: Sequence[Run]) -> Iterator[str]:
    """Warn of tasks of the same name whose specs differ."""
    specs = [tasks if isinstance(tasks := _spec(run).get("tasks"), dict) else {} for run in runs]
    for name in dict.fromkeys(name for of_run in specs for name in of_run):
        tasks = [of_run[name] for of_run in specs if isinstance(of_run.get(name), dict)]
        for key in _TASK_KEYS if any(task.get("protocol") for task in tasks) else ():
            values = dict.fromkeys(str(task.get(key)) for task in tasks)
            if len(values) > 1:
                yield f"{name}: the runs' {key} differs ({', '.join(values)}): so does more than the methods"


def _shares_generators(records: pd.DataFrame, task: str) -> bool:
    return "generator_seed" in records and bool(records.loc[records["task"] == task, "generator_seed"].notna().any())


def _spec(run: Run) -> dict[str, Any]:
    place = str(run.folder / "spec.yaml")
    return dict(checked(dict[Any, Any] | None, yaml_value(run.spec, place), place, "it") or {})


def _names(runs: Sequence[Run]) -> list[str]:
    """The folders' names, or their paths where two names are the same."""
    names = [run.name for run in runs]
    return [str(run.folder) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]
