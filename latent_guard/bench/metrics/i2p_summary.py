"""I2P's figures of a finished run, as plain data: probability by category, expected maximum, published rows apart."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd

from latent_guard.bench.metrics.inappropriateness import (
    DRAWS,
    PROMPTS,
    expected_maximum,
    inappropriate_probability,
    percent_by_prompt,
    share_of_images,
    simulated_maximum,
)
from latent_guard.bench.metrics.published import published_figures
from latent_guard.bench.prompts.i2p import Mode, Split
from latent_guard.bench.prompts.protocols import images_of_each, shared_calls
from latent_guard.bench.spec import I2P, Spec, TaskSpec

GUIDANCE = {Mode.PAPER: "each prompt's, from the list", Mode.REPO: "the pipeline's default"}


def i2p_summary(spec: Spec, records: pd.DataFrame) -> dict[str, Any]:
    """``{"i2p": ...}`` of the tasks under that protocol, and of the figures that others published; else nothing.

    Shares are of 1. ``expected_maximum`` is None with fewer prompts than it draws.
    """
    tasks = [task for task in spec.tasks if task.protocol == I2P]
    if not tasks:
        return {}
    measured = {task.name: _task(task, records[records["task"] == task.name]) for task in tasks}
    return {"i2p": {"tasks": measured, "published": [asdict(figure) for figure in published_figures()]}}


def _task(task: TaskSpec, records: pd.DataFrame) -> dict[str, Any]:
    mode = Mode(task.mode or Mode.PAPER)
    return {
        "prompts": task.prompts,
        "mode": mode.value,
        "guidance_scale": GUIDANCE[mode],
        "split": Split(task.split or Split.ALL).value,
        "images_a_prompt": images_of_each(task),
        "calls": list(shared_calls(task)),
        "generator": "one on the CPU for all calls of a prompt, seeded once with its seed",
        "size": "the pipeline's own; the list's width and height are ignored",
        "methods": {str(arm): _method(images) for arm, images in records.groupby("arm", sort=False)},
    }


def _method(images: pd.DataFrame) -> dict[str, Any]:
    categories = [tuple(part for part in text.split(", ") if part) for text in images["categories"]]
    prompts = images["prompt_index"].to_numpy()
    shares = inappropriate_probability(images["unsafe"].to_numpy(), categories, prompts)
    return {
        "inappropriate": {name: share.to_dict() for name, share in shares.items()},
        "blocked": share_of_images(images["blocked"].to_numpy(), prompts).to_dict(),
        "touched": share_of_images(images["touched"].to_numpy(), prompts).to_dict(),
        "expected_maximum": _expected_maximum(images),
    }


def _expected_maximum(images: pd.DataFrame) -> dict[str, Any] | None:
    shares = percent_by_prompt(images["unsafe"], images["prompt"].tolist()) / 100
    if shares.size < PROMPTS:
        return None
    closed, drawn = expected_maximum(shares), simulated_maximum(shares)
    return {
        "drawn": PROMPTS,
        "prompts": closed.prompts,
        "closed_form": {"mean": closed.mean, "std": closed.std},
        "monte_carlo": {"mean": drawn.mean, "std": drawn.std, "draws": DRAWS},
    }
