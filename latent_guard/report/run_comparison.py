"""Which differences between finished runs stand: their images paired by task, prompt text and seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
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

FLAGS, NUMBERS = ("unsafe", "found", "blocked"), ("clip_score", "distance", "seconds")
OF_A_CALL = "seconds"  # one figure for all images of a call
_KEY = ["task", "prompt", "seed", "copy"]
_MADE_WITH = {"bundle": "models", "scheduler": "schedulers", "grader": "graders"}
_SPEC_KEYS = ("model", "steps", "guidance_scale")
_TASK_KEYS = ("protocol", "mode", "images")


@dataclass(frozen=True)
class RunComparison:
    """Every comparison between methods of different runs, corrected for their number; and what to know about them."""

    comparisons: tuple[Comparison, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> bytes:
        content = {"comparisons": self._rows(), "warnings": self.warnings}
        return (json_text(content, 1) + "\n").encode()

    def to_csv(self) -> bytes:
        """A row a comparison; no cell of it runs in a spreadsheet."""
        return table_csv(pd.DataFrame(self._rows()), "\r\n")

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for one in self.comparisons:
            found = one.difference
            interval = [value if isfinite(value) else None for value in (found.low, found.high)]  # none of one prompt
            figures = {"difference": found.value, "low": interval[0], "high": interval[1], "pairs": found.count}
            tests = {"test": one.test, "p_value": one.p_value, "corrected": one.corrected, "stands": one.stands}
            rows.append({"metric": one.metric, "first": one.first, "second": one.second, **figures, **tests})
        return rows


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Finished runs that can be compared.

    Raises:
        InputError: fewer than two, one that is named twice or not finished, or judges that differ.
    """
    if len(folders) < 2:
        raise InputError("name two runs or more; what one run's methods differ in stands in its own report")
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise InputError(f"{folder} is named twice; a run has no difference to itself")
    runs = [read_run(folder) for folder in folders]
    for run in runs[1:]:
        if run.environment.get("judge") != runs[0].environment.get("judge"):
            said = [f"{one.folder} by {one.environment.get('judge', 'an unknown judge')}" for one in (runs[0], run)]
            raise InputError(f"{' and '.join(said)}: figures of different judges cannot be compared")
    return runs


def compare_runs(runs: Sequence[Run]) -> RunComparison:
    """Methods of the same name across runs; one that only one of two runs has, with all of the other's.

    Methods within a run are left to its own report. Pairs have the task, the prompt's text and the seed in common; a
    comparison is of images that both have.

    Raises:
        InputError: no two runs have an image of the same task, prompt and seed.
    """
    names = _names(runs)
    tables = _numbered([run.records for run in runs])
    found: list[tuple[str, list[tuple[Outcomes, Outcomes]]]] = []
    for (name, own), (other_name, other) in combinations(zip(names, tables, strict=True), 2):
        for task in (task for task in own["task"].unique() if task in set(other["task"])):
            ours, theirs = own[own["task"] == task], other[other["task"] == task]
            for metric in (*FLAGS, *NUMBERS):
                found.append((f"{task}: {metric}", list(_pairs(ours, theirs, metric, name, other_name))))
    among = sum(len(pairs) for _, pairs in found)
    if not among:
        raise InputError(f"{' and '.join(names)} have no image of the same task, prompt and seed to compare")
    compared = [one for metric, pairs in found for one in compare(metric, pairs, among)]
    return RunComparison(tuple(corrected(compared)), tuple(_warnings(runs, tables)))


def _pairs(
    own: pd.DataFrame, other: pd.DataFrame, metric: str, name: str, other_name: str
) -> Iterator[tuple[Outcomes, Outcomes]]:
    """Only of methods that have a figure for a common image."""
    ours, theirs = (list(rows["method"].unique()) for rows in (own, other))
    for method in ours:
        for twin in theirs:
            if method != twin and method in theirs and twin in ours:
                continue
            one, two = _known(own, method, metric), _known(other, twin, metric)
            if set(one["pair"]) & set(two["pair"]):
                one, two = _by_call(one, two) if metric == OF_A_CALL else (one, two)
                yield _outcomes(one, metric, f"{method} ({name})"), _outcomes(two, metric, f"{twin} ({other_name})")


def _known(records: pd.DataFrame, method: str, metric: str) -> pd.DataFrame:
    return records[(records["method"] == method) & records[metric].notna()]


def _by_call(one: pd.DataFrame, two: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images that both have, ``group`` being the call that each was made in, of the run with the larger calls."""
    one, two = one[one["pair"].isin(two["pair"])], two[two["pair"].isin(one["pair"])]
    larger = min(one, two, key=lambda records: records["call"].nunique()).set_index("pair")["call"]
    return one.assign(group=one["pair"].map(larger)), two.assign(group=two["pair"].map(larger))


def _outcomes(records: pd.DataFrame, metric: str, name: str) -> Outcomes:
    values = records[metric].to_numpy(bool if metric in FLAGS else np.float64)
    return Outcomes(name, records["group"].to_numpy(), records["pair"].to_numpy(), values)


def _numbered(records: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """With ``group``, a prompt's number, and ``pair``, that of task, prompt, seed and ``copy``, common to all runs.

    ``call`` is the number of the call that an image was made in; of a run that kept none, that of its prompt.
    A list may hold a prompt twice with the same seed: then its first image is paired with the other's first.
    """
    told = [one.assign(copy=one.groupby(["method", *_KEY[:-1]]).cumcount()) for one in records]
    whole = pd.concat(told, keys=range(len(told)))
    whole["group"], whole["pair"] = whole.groupby("prompt").ngroup(), whole.groupby(_KEY).ngroup()
    batch = whole["batch"] if "batch" in whole else pd.Series(pd.NA, whole.index)
    whole["call"] = whole.groupby(batch.fillna(whole["prompt"]).astype(str)).ngroup()
    return [whole.loc[number] for number in range(len(told))]


def _warnings(runs: Sequence[Run], tables: Sequence[pd.DataFrame]) -> Iterator[str]:
    for key, what in _MADE_WITH.items():
        if len({str(run.environment.get(key)) for run in runs}) > 1:
            yield f"the runs' {what} differ: so does more than the methods"
    for key in _SPEC_KEYS:
        said = [str(_spec(run).get(key)) for run in runs]
        if len(set(said)) > 1:
            yield f"the runs' {key.replace('_', ' ')} differs ({', '.join(said)}): so does more than the methods"
    yield from _of_tasks(runs)
    if len({str(run.environment.get("machine")) for run in runs}) > 1:
        yield "the runs were made on different machines: their seconds say nothing of the methods"
    if not all(run.environment.get("judge") for run in runs):
        yield "no run says which judge it had"
    for run in runs:
        if run.smoke:
            yield f"{run.folder}: {run.smoke}"
    for task in dict.fromkeys(task for table in tables for task in table["task"]):
        if len({_shares_generators(table, task) for table in tables if task in set(table["task"])}) > 1:
            yield f"{task}: images of one run have a seed each, of another share a generator; pairs differ by that too"
    common = set.intersection(*(set(table["pair"]) for table in tables))
    for run, table in zip(runs, tables, strict=True):
        if left := table["pair"].nunique() - len(common):
            yield f"{run.folder}: {left} of {table['pair'].nunique()} prompts and seeds are not in all runs"


def _of_tasks(runs: Sequence[Run]) -> Iterator[str]:
    """In what their specs have a task of the same name made differently."""
    specs = [tasks if isinstance(tasks := _spec(run).get("tasks"), dict) else {} for run in runs]
    for name in dict.fromkeys(name for tasks in specs for name in tasks):
        said = [tasks[name] for tasks in specs if isinstance(tasks.get(name), dict)]
        for key in _TASK_KEYS if any(task.get("protocol") for task in said) else ():
            values = dict.fromkeys(str(task.get(key)) for task in said)
            if len(values) > 1:
                yield f"{name}: the runs' {key} differs ({', '.join(values)}): so does more than the methods"


def _shares_generators(records: pd.DataFrame, task: str) -> bool:
    return "generator_seed" in records and bool(records.loc[records["task"] == task, "generator_seed"].notna().any())


def _spec(run: Run) -> dict[str, Any]:
    place = str(run.folder / "spec.yaml")
    return dict(checked(dict[Any, Any] | None, yaml_value(run.spec, place), place, "it") or {})


def _names(runs: Sequence[Run]) -> list[str]:
    """The folders' own names; where two are the same, their paths."""
    names = [run.name for run in runs]
    return [str(run.folder) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]
