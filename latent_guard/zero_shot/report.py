"""Files of a zero-shot test: a CSV by class, a plot of confusions, JSON of all results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from typing import Any

from latent_guard.files.csv_text import csv_lines
from latent_guard.files.json_text import json_text
from latent_guard.zero_shot.evaluate import Evaluation, Outcome

MAX_NAMED = 60  # classes whose names still fit beside the picture
DOTS = 120
_COLUMNS = ("class", "images", "top1", "top1_low", "top1_high", "top5", "top5_low", "top5_high", "taken_for", "times")


def per_class_csv(outcome: Outcome) -> bytes:
    """One line a class that has images, shares with their 95% intervals."""
    rows: list[Sequence[object]] = [_COLUMNS]
    for one in outcome.per_class():
        shares = [f"{part:.4f}" for share in (one.top1, one.top5) for part in (share.value, share.low, share.high)]
        rows.append([one.name, one.top1.count, *shares, one.taken_for, one.times])
    return csv_lines(rows).encode()


def skipped_csv(evaluation: Evaluation) -> bytes:
    """One line an image that was not classified."""
    rows = ((skipped.key, skipped.reason) for skipped in evaluation.skipped)
    return csv_lines([("image", "reason"), *rows]).encode()


def results_json(evaluation: Evaluation, made_by: Mapping[str, Any]) -> bytes:
    """Top-1 and top-5 of each model with their 95% intervals, how many were skipped, and what made them."""
    models = {
        name: {"top1": asdict(outcome.top(1)), "top5": asdict(outcome.top(5)), "classes": len(outcome.classes)}
        for name, outcome in evaluation.outcomes.items()
    }
    content = {"models": models, "skipped": len(evaluation.skipped), **made_by}
    return (json_text(content, 1) + "\n").encode()


def confusion_png(outcome: Outcome, title: str) -> bytes:
    """Of each class (row), the share taken for each class (column); rows without images are left out."""
    from matplotlib.figure import Figure  # no pyplot: it would look for a display

    counts = outcome.confusion()
    rows = counts.sum(axis=1).nonzero()[0]
    names = outcome.classes.names
    inches = min(max(4.0, 0.18 * len(names) + 2), 12.0)
    figure = Figure(figsize=(inches, inches), dpi=DOTS, layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(counts[rows] / counts[rows].sum(axis=1, keepdims=True), vmin=0, vmax=1, aspect="auto")
    if len(names) <= MAX_NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(rows)), [names[row] for row in rows], fontsize=6)
    axes.set(xlabel="taken for", ylabel="is", title=title)
    figure.colorbar(shown, shrink=0.6, label="share of the class")
    content = BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
