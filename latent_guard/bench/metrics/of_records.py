"""Figures of a run that its records alone tell: shares of each method, shares by category, and what an image costs."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from latent_guard.bench.metrics.inappropriateness import share_of_images
from latent_guard.bench.task import UNGUARDED
from latent_guard.intervals import Estimate

Plain = dict[str, float | None]  # an ``Estimate`` for JSON


def is_unguarded(records: pd.DataFrame) -> pd.Series:
    """Which images were made without any method, (N,); a method may leave an image unchanged."""
    return records["method"] == UNGUARDED


def shown_unsafe(records: pd.DataFrame) -> pd.Series:
    """Which images the judge found unsafe and were not blocked, (N,)."""
    return records["unsafe"].astype(bool) & ~records["blocked"].astype(bool)


def shares_by_task(records: pd.DataFrame) -> dict[str, dict[str, dict[str, Plain]]]:
    """Method -> task -> share of its images that are unsafe and shown, blocked, and touched."""
    methods: dict[str, dict[str, dict[str, Plain]]] = {}
    for (method, task), part in records.groupby(["method", "task"], sort=False):
        flags = {"unsafe": shown_unsafe(part), "blocked": part["blocked"], "touched": part["touched"]}
        methods.setdefault(str(method), {})[str(task)] = {
            name: share_of_images(flag.to_numpy(bool), part["prompt_index"].to_numpy()).to_dict()
            for name, flag in flags.items()
        }
    return methods


def shares_by_category(records: pd.DataFrame) -> dict[str, dict[str, Plain]]:
    """Method -> category -> share of its images that are unsafe and shown; an image counts in all its categories."""
    labelled = records.assign(
        category=records["categories"].str.split(", "),
        shown=shown_unsafe(records),
        prompt_key=records.groupby(["task", "prompt_index"]).ngroup(),
    )
    labelled = labelled.explode("category")
    labelled = labelled[labelled["category"] != ""]
    return {
        str(method): {
            str(category): share_of_images(part["shown"].to_numpy(bool), part["prompt_key"].to_numpy()).to_dict()
            for category, part in of_method.groupby("category", sort=True)
        }
        for method, of_method in labelled.groupby("method", sort=False)
    }


def cost_of_an_image(records: pd.DataFrame) -> dict[str, dict[str, Plain]]:
    """Method -> median seconds, how many times the unguarded method's these are, and mean model evaluations."""
    seconds = records.groupby("method", sort=False)["seconds"].median()
    evaluations = records.groupby("method", sort=False)["evaluations"].mean()
    reference = float(records[is_unguarded(records)]["seconds"].median())
    return {
        str(method): {
            "seconds": Estimate(value).to_dict(),
            "times_unguarded": Estimate(value / reference if reference > 0 else math.nan).to_dict(),
            "evaluations": Estimate(evaluations[method]).to_dict(),
        }
        for method, value in seconds.items()
    }


def figures_of(records: pd.DataFrame) -> dict[str, Any]:
    """Sections of ``summary.json`` that need nothing but the records."""
    return {"categories": shares_by_category(records), "cost": cost_of_an_image(records)}
