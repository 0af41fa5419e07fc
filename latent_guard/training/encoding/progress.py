"""The progress bar of ``encode``: images done, images a second, time left."""

from __future__ import annotations

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from latent_guard.terminal import progress


def encode_progress(total: int | None, shown: bool) -> Progress:
    """A bar of one task, on stderr; ``total`` images, None where nobody knows."""
    columns = (TextColumn("encoding"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    bar = progress(*columns, shown=shown, transient=False)
    bar.add_task("encoding", total=total)
    return bar


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} images/s" if speed else "? images/s", style="progress.data.speed")
