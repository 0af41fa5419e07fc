"""What a run measures on its way: one row a log line, as CSV and as a plot."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields

import numpy as np

from latent_guard.files.csv_text import csv_lines


@dataclass(frozen=True)
class Point:
    """State of a run after ``step`` steps.

    Attributes:
        loss: the mean since the point before.
        learning_rate: AdamW's.
        samples_per_second: of all processes, since the point before.
        top1: zero-shot accuracy, 0..1; None where it was not measured.
    """

    step: int
    samples: int
    loss: float
    learning_rate: float
    samples_per_second: float
    top1: float | None = None

    def numbers(self) -> dict[str, float]:
        """What a tracker keeps."""
        return {key: value for key, value in asdict(self).items() if value is not None and key != "step"}


def curve_csv(points: Sequence[Point]) -> bytes:
    """A header and a line a point."""
    return csv_lines([[field.name for field in fields(Point)], *map(astuple, points)]).encode()


def curve_png(points: Sequence[Point]) -> bytes:
    """Loss against samples seen, and above it zero-shot accuracy where it was measured."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([p.samples for p in points], [p.loss for p in points], color="C0", label="loss")
    axes.set(xlabel="samples seen", ylabel="contrastive loss")
    axes.grid(alpha=0.3)
    measured = [(p.samples, 100 * p.top1) for p in points if p.top1 is not None]
    if measured:
        right = axes.twinx()
        right.plot(*np.array(measured).T, color="C1", marker=".", label="zero-shot top-1")
        right.set(ylabel="zero-shot top-1, %", ylim=(0, 100))
        figure.legend(loc="outside upper right", ncols=2)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120, metadata={"Software": None})
    return picture.getvalue()
