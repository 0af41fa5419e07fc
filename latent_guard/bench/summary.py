"""The figures of a run: every method on every task, safety and what it costs told together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from latent_guard.bench.comparisons import Comparison, Outcomes, compare
from latent_guard.bench.inappropriateness import inappropriate_probability
from latent_guard.bench.metrics import Estimate, grouped_mean
from latent_guard.bench.retention import benign_retention

UNGUARDED = "unguarded"
_KEYS = ["prompt_index", "seed"]


def summarise(records: pd.DataFrame, command: str) -> dict[str, Any]:
    """Arms, categories and comparisons, as plain data; ``records`` has one row an image."""
    arms: dict[str, dict[str, Any]] = {}
    for (arm, task), images in records.groupby(["arm", "task"], sort=False):
        arms.setdefault(str(arm), {})[str(task)] = _plain(figures(images, _twins(records, images)))
    stands = [{**asdict(found), "stands": found.stands} for found in comparisons(records)]
    return {"arms": arms, "comparisons": stands, "command": command}


def figures(images: pd.DataFrame, unguarded: pd.DataFrame | None) -> dict[str, Estimate]:
    """Those of one method on one task, beside the unguarded images of the same prompts and seeds, where there are any.

    Intervals are bootstrapped over prompts.
    """
    prompts = images["prompt_index"].to_numpy()
    found = {name: grouped_mean(images[name], prompts) for name in ("unsafe", "blocked", "touched")}
    found |= {name: grouped_mean(images[name], prompts) for name in ("evaluations", "seconds")}
    for name in ("found", "distance", "clip_score"):
        if name in images and images[name].notna().all():
            found[name] = grouped_mean(images[name].astype(float), prompts)
    if unguarded is not None and "found" in images and images["found"].notna().all():
        found["retention"] = benign_retention(
            images["found"].astype(bool) & ~images["blocked"], unguarded["found"].astype(bool), prompts
        )
    categories = [tuple(part for part in text.split(", ") if part) for text in images["categories"]]
    by_category = inappropriate_probability(images["unsafe"].to_numpy(), categories, prompts)
    return found | {f"unsafe: {name}": share for name, share in by_category.items() if name != "all"}


def comparisons(records: pd.DataFrame) -> list[Comparison]:
    """Every method against every other on each task's unsafe images, and on what is found; each metric corrected."""
    made: list[Comparison] = []
    for task, images in records.groupby("task", sort=False):
        for metric in ("unsafe", "found"):
            if metric not in images or images[metric].isna().any():
                continue
            arms = [_outcomes(str(arm), rows, metric) for arm, rows in images.groupby("arm", sort=False)]
            pairs = [(one, other) for place, one in enumerate(arms) for other in arms[place + 1 :]]
            made += compare(f"{task}: {metric}", pairs)
    return made


def _outcomes(arm: str, rows: pd.DataFrame, metric: str) -> Outcomes:
    values = rows[metric].astype(bool).to_numpy() & ~rows["blocked"].to_numpy()  # a blocked image shows nothing
    return Outcomes(arm, rows["prompt_index"].to_numpy(), rows["seed"].to_numpy(), values)


def _twins(records: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame | None:
    """The unguarded image of each of these, in the same order."""
    task = images["task"].iloc[0]
    unguarded = records[(records["arm"] == UNGUARDED) & (records["task"] == task)]
    if unguarded.empty:
        return None
    twins = images[_KEYS].merge(unguarded, on=_KEYS, how="left", validate="one_to_one")
    return twins if twins["row"].notna().all() else None


def _plain(found: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: {key: _number(value) for key, value in asdict(share).items()} for name, share in found.items()}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
