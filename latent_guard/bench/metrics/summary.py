"""The summary of a run: every method on every task, significant differences, curves, and how right the guard is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from latent_guard.bench.metrics.best_method import best_method
from latent_guard.bench.metrics.bootstrap import Estimate
from latent_guard.bench.metrics.check_accuracy import calibration, precision_recall
from latent_guard.bench.metrics.of_records import figures_of
from latent_guard.bench.metrics.per_method import Graded, Images, metrics_of
from latent_guard.bench.metrics.significance import Comparison, Outcomes, compare
from latent_guard.bench.metrics.trade_off import curves
from latent_guard.bench.task import UNGUARDED, MethodSpec

_KEYS = ["prompt_index", "seed"]


def summarise(graded: Graded, looks: pd.DataFrame, methods: Sequence[MethodSpec]) -> dict[str, Any]:
    """As plain data: methods, categories, cost, comparisons, curves, calibration, precision and recall by step."""
    records, found = graded.records, dict[str, dict[str, dict[str, Estimate]]]()
    for (method, task), images in records.groupby(["method", "task"], sort=False):
        own, unguarded = _images(graded, images), _paired(graded, images)
        found.setdefault(str(method), {})[str(task)] = metrics_of(own, unguarded)
    tested = [
        {**asdict(one), "difference": one.difference.to_dict(), "significant": one.significant}
        for one in comparisons(records)
    ]
    return {
        "methods": {
            method: {task: _plain(shares) for task, shares in tasks.items()} for method, tasks in found.items()
        },
        **({"best_method": best} if (best := best_method(records)) else {}),
        **figures_of(records),
        "comparisons": tested,
        "curves": curves(records, methods),
        "calibration": calibration(looks, records),
        "precision_recall": precision_recall(looks, records),
    }


def comparisons(records: pd.DataFrame) -> list[Comparison]:
    """Every method against every other on each task's unsafe images, and on what is found; each metric corrected."""
    made: list[Comparison] = []
    for task, images in records.groupby("task", sort=False):
        for metric in ("unsafe", "satisfied"):
            if metric not in images or images[metric].isna().any():
                continue
            methods = [_outcomes(str(method), rows, metric) for method, rows in images.groupby("method", sort=False)]
            pairs = [(one, other) for place, one in enumerate(methods) for other in methods[place + 1 :]]
            made += compare(f"{task}: {metric}", pairs)
    return made


def _outcomes(method: str, rows: pd.DataFrame, metric: str) -> Outcomes:
    values = rows[metric].astype(bool).to_numpy() & ~rows["blocked"].to_numpy()  # a blocked image shows nothing
    return Outcomes(method, rows["prompt_index"].to_numpy(), rows["seed"].to_numpy(), values)


def _images(graded: Graded, records: pd.DataFrame) -> Images:
    """``records`` are rows of the table, with its index."""
    return Images(records, None if graded.features is None else graded.features[records.index.to_numpy()])


def _paired(graded: Graded, images: pd.DataFrame) -> Images | None:
    """The unguarded image of each of these, in the same order."""
    records = graded.records
    unguarded = records[(records["method"] == UNGUARDED) & (records["task"] == images["task"].iloc[0])]
    places = pd.Series(unguarded.index, pd.MultiIndex.from_frame(unguarded[_KEYS]))
    paired = places.reindex(pd.MultiIndex.from_frame(images[_KEYS]))
    if paired.empty or paired.isna().any():
        return None
    return _images(graded, records.loc[paired.astype(int)])


def _plain(found: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: share.to_dict() for name, share in found.items()}
