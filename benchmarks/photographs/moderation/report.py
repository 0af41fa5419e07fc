"""What moderation by words came to, written down: rows, and a line for each kind of photograph and condition."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.photographs.moderation.conditions import AS_IT_IS, CONDITIONS
from benchmarks.photographs.moderation.moderated import LEFT_OUT
from benchmarks.photographs.moderation.pictures import Flags
from benchmarks.photographs.moderation.rows import Comparison, rows_of
from benchmarks.tables import show_and_keep
from latent_guard.bench.result_table import Row
from latent_guard.bench.runs.provenance import provenance
from latent_guard.files.atomic import write_atomic
from latent_guard.intervals import proportion

NAME = "photographs_moderation"
VERDICTS = {True: "yes", False: "no", None: ""}


def report(seen: Comparison, models: dict[str, str], out: Path) -> None:
    """Write ``photographs_moderation.json``, its ``.csv`` and ``_rows.csv``, and print both tables."""
    rows = rows_of(seen)
    record = {
        "made_by": provenance().to_dict(),
        "models": models,
        "rates": seen.rates,
        "left_out": LEFT_OUT,
        "ranking": {name: _ranking(seen, name) for name in seen.models},
        "rows": [asdict(row) for row in rows],
    }
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / f"{NAME}.json", (json.dumps(record, indent=1) + "\n").encode())
    show_and_keep(_lines(seen), out / f"{NAME}.csv")
    show_and_keep(_table(rows), out / f"{NAME}_rows.csv")


def _ranking(seen: Comparison, name: str) -> dict[str, float]:
    """How well margins rank the measured half, whatever the threshold."""
    model = seen.models[name]
    margins = model.margins(seen.rates[0])
    auroc, precision = roc_auc_score(model.unsafe, margins), average_precision_score(model.unsafe, margins)
    return {"auroc": float(auroc), "average_precision": float(precision)}


def _lines(seen: Comparison) -> Table:
    """Of each kind of photograph, in each condition, how many are flagged at the thresholds as they were calibrated."""
    heads = [f"{name}, {rate:.0%}" for name in seen.models for rate in seen.rates]
    shown = Table("photographs", "condition", "n", *heads, title="flagged at calibrated thresholds, %")
    for kind, condition, of_kind in _kinds(seen):
        cells = []
        for model in seen.models.values():
            chosen = of_kind[model.found[condition].numbers]
            cells += [proportion(model.flags(rate, condition)[chosen]).percent() for rate in seen.rates]
        shown.add_row(kind, condition, str(int(chosen.sum())), *cells)
    return shown


def _kinds(seen: Comparison) -> Iterator[tuple[str, str, Flags]]:
    """Kinds of photographs with the condition that they are shown in, and which (N,) of all are of the kind."""
    photographs = seen.photographs
    for category in dict.fromkeys(one.category for one in photographs.prompt_sets):
        yield category, AS_IT_IS, photographs.categories == category
    for one in photographs.prompt_sets:
        for name in (name for name in one.prompts if name in photographs.names):
            yield name, AS_IT_IS, photographs.of_classes([name])
    for condition in (AS_IT_IS, *CONDITIONS):
        yield "all unsafe", condition, photographs.unsafe
        yield "harmless", condition, ~photographs.unsafe


def _table(rows: Sequence[Row]) -> Table:
    shown = Table("What", "Target", "Measured (95% interval)", "n", "Reached", "Notes")
    for row in rows:
        shown.add_row(row.what, row.target, row.measured, str(row.samples), VERDICTS[row.reached], row.note)
    return shown
