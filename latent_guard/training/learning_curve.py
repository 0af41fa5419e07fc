"""The learning curve of a run: its points, one a log line, as CSV and as a plot."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field, fields

import numpy as np
from torch import Tensor

from latent_guard.files.csv_text import csv_lines


@dataclass(frozen=True)
class Point:
    """The state of a run after ``step`` steps.

    Attributes:
        loss: mean since the point before.
        learning_rate: AdamW's.
        samples_per_second: speed of all processes together, since the point before.
        top1: zero-shot accuracy, 0..1; None where it was not measured.
    """

    step: int
    samples: int
    loss: float
    learning_rate: float
    samples_per_second: float
    top1: float | None = None

    def numbers(self) -> dict[str, float]:
        """The measured values, as a tracker takes them."""
        return {key: value for key, value in asdict(self).items() if value is not None and key != "step"}


@dataclass
class Meter:
    """The losses and the time since the last point of the curve.

    Attributes:
        total: sum of the losses, a scalar on the device.
        first_step: number of steps done at that point.
        began: clock at that point, in seconds.
    """

    total: Tensor
    first_step: int = 0
    began: float = field(default_factory=time.perf_counter)

    def restart(self, step: int) -> None:
        """Begin the next point of the curve after ``step`` steps."""
        self.total.zero_()
        self.first_step = step
        self.began = time.perf_counter()


def curve_csv(points: Sequence[Point]) -> bytes:
    """Write the curve as CSV: a header, and a line a point."""
    header = [column.name for column in fields(Point)]
    return csv_lines([header, *map(astuple, points)]).encode()


def curve_png(points: Sequence[Point]) -> bytes:
    """Plot the loss against samples seen, and on a second axis zero-shot accuracy where it was measured."""
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
