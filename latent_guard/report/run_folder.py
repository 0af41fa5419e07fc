"""The reader of a run folder: records, summary, environment, spec."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from latent_guard.bench.metrics.of_records import figures_of, shares_by_task
from latent_guard.bench.runs.folder import RECORDS, SUMMARY
from latent_guard.bench.runs.identity import ENVIRONMENT, OF_RUN, SPEC, damage
from latent_guard.errors import InputError
from latent_guard.files.csv_text import clean
from latent_guard.files.documents import read_json, read_text
from latent_guard.files.tables import read_table

_TEXTS = ("method", "task", "prompt", "categories", "seen", "decision", "image")
_COUNTS = ("row", "prompt_index", "seed")
_FLAGS = ("unsafe", "blocked", "touched")
_FIGURES = ("score", "evaluations", "seconds", "distance", "clip_score")
# What each section of a summary is made of, from the outside in.
_SECTIONS: dict[str, tuple[type, ...]] = {
    "methods": (dict, dict, dict),  # method, task, metric
    "categories": (dict, dict),  # method, category
    "cost": (dict, dict),  # method, figure
    "curves": (dict, list, dict),  # method, points
    "comparisons": (list, dict),
    "best_method": (dict,),
    "calibration": (list, dict),
    "precision_recall": (list, dict),
    "command": (str,),
    "i2p": (dict,),
    "out_of_domain": (str,),
}
_NAMES: dict[type, str] = {dict: "a table", list: "a list", str: "text"}


@dataclass(frozen=True, eq=False)
class Run:
    """A benchmark run as its folder tells it, with clean text (``csv_text.clean``).

    Attributes:
        folder: its folder; ``image`` of a record is a path inside it.
        records: one row an image, by row number; ``satisfied`` is True, False or None.
        summary: ``summary.json``; any section may be absent but ``methods``, ``categories`` and ``cost``.
        environment: ``environment.json``, empty where there is none.
        spec: the text of ``spec.yaml``, empty where there is none.
    """

    folder: Path
    records: pd.DataFrame
    summary: Mapping[str, Any]
    environment: Mapping[str, Any]
    spec: str

    @property
    def name(self) -> str:
        return clean(self.folder.resolve().name)

    @property
    def out_of_domain(self) -> str:
        """The reason why the rates of this run have no meaning; empty if they have."""
        return str(self.summary.get("out_of_domain", ""))


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        InputError: there are no records, or a file is not what a run writes; the message names it.
    """
    if not (folder / RECORDS).is_file():
        raise InputError(f"{folder}: no {RECORDS}; give the folder of a finished `latent-guard bench run`")
    if problem := damage(folder, OF_RUN):
        raise InputError(f"{problem}; resume the run to write it again")
    summary = _json(folder / SUMMARY)
    for name, kinds in _SECTIONS.items():
        if name in summary:
            _check(summary[name], kinds, f"{folder / SUMMARY}: {name}")
    records = _records(folder / RECORDS)
    # What runs of earlier versions, and runs that are not graded, do not say themselves.
    told = {"methods": shares_by_task(records), **figures_of(records)}
    summary = {**summary, **{name: section for name, section in told.items() if not summary.get(name)}}
    return Run(folder, records, summary, _json(folder / ENVIRONMENT), clean(_text(folder / SPEC)))


def _records(path: Path) -> pd.DataFrame:
    try:
        table = read_table(path)
    except InputError as error:
        raise InputError(f"{error}; resume the run to write it again") from error
    missing = [name for name in (*_TEXTS, *_COUNTS, *_FLAGS, *_FIGURES, "satisfied") if name not in table]
    if missing:
        raise InputError(f"{path}: no column {', '.join(missing)}; resume the run to write it again")
    if table.empty:
        raise InputError(f"{path}: holds no image yet; resume the run")
    if table["row"].duplicated().any():
        raise InputError(f"{path}: two rows have the same number; resume the run to write it again")
    unknown = [name for name in _FLAGS if table[name].isna().any()]
    if unknown:
        raise InputError(f"{path}: no value in some rows of {', '.join(unknown)}; resume the run to judge every image")
    try:
        typed = {
            **{name: [clean(text) for text in table[name].fillna("")] for name in _TEXTS},
            **{name: table[name].astype("int64") for name in _COUNTS},
            **{name: table[name].astype(bool) for name in _FLAGS},
            **{name: table[name].astype("float64") for name in _FIGURES},
            "satisfied": pd.array(table["satisfied"], dtype="boolean"),
        }
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}; resume the run to write it again") from error
    return table.assign(**typed).sort_values("row", kind="stable").reset_index(drop=True)


def _check(value: Any, kinds: Sequence[Any], where: str) -> None:
    """Raise InputError unless a value is of the first kind, and all in it of the ones after it."""
    if not kinds:
        return
    kind, *further = kinds
    if not isinstance(value, kind):
        raise InputError(f"{where} is not {_NAMES[kind]}; resume the run to write it again")
    for name, part in value.items() if kind is dict else enumerate(value):
        _check(part, further, f"{where}, {name}")


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = read_json(path, "the run's", any_text=True) if os.path.lexists(path) else {}
    except InputError as error:
        raise InputError(f"{error}; resume the run to write it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object; resume the run to write it again")
    return {clean(name): _clean_values(value) for name, value in content.items()}


def _clean_values(value: Any) -> Any:
    if isinstance(value, dict):
        return {clean(name): _clean_values(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_clean_values(part) for part in value]
    return clean(value) if isinstance(value, str) else value


def _text(path: Path) -> str:
    """The file's text, empty where there is none."""
    return read_text(path, "the run's") if os.path.lexists(path) else ""
