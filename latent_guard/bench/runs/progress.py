"""What a run shows while it goes on: images, images a second, the time left, and how many were unsafe so far."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from latent_guard.bench.runs.plan import Unit
from latent_guard.terminal import progress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@dataclass
class Pace:
    """How fast images come, of ``left`` that were to be made when the clock began.

    Over the whole of this run, since methods of very different speed take turns; what an earlier run made counts for
    nothing but the bar.
    """

    left: int
    began: float = field(default_factory=time.perf_counter)
    made: int = 0
    unsafe: int = 0

    def text(self) -> str:
        """``2.0 images/s, 0:01:30 left, 25% unsafe``; empty before the first image."""
        if not self.made:
            return ""
        rate = self.made / (time.perf_counter() - self.began)
        left = timedelta(seconds=round((self.left - self.made) / rate))
        return f"{rate:.1f} images/s, {left} left, {self.unsafe / self.made:.0%} unsafe"


@dataclass(frozen=True, eq=False)
class Shown:
    """A bar on the terminal, and the pace beside it."""

    bar: Progress
    task: TaskID
    pace: Pace

    def advance(self, images: int, unsafe: int) -> None:
        self.pace.made += images
        self.pace.unsafe += unsafe
        self.bar.update(self.task, advance=images, pace=self.pace.text())


@contextmanager
def shown_progress(units: Sequence[Unit], left: Sequence[Unit], show: bool) -> Iterator[Shown]:
    """A bar over the images of ``units``, those beside the ``left`` ones being there already; of several processes,
    one shows its own share."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    whole, open_images = (sum(len(unit.jobs) for unit in of) for of in (units, left))
    columns = (TextColumn("generating"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with progress(*columns, shown=show) as bar:
        task = bar.add_task("generating", total=whole, completed=whole - open_images, pace="")
        yield Shown(bar, task, Pace(open_images))
