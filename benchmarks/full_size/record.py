"""What was measured, written down line by line, so that a run that is ended early leaves all that it had."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.timing import Timing
from latent_guard.files.atomic import write_atomic
from latent_guard.guidance.verdict import Cost

NOTHING = Cost()


@dataclass(frozen=True)
class Line:
    """One part of one model at one size.

    Attributes:
        model, size, setting, part: what was measured; the setting says how many steps, and which gate of the guard.
        seconds, least, most: of a run; the first is the median.
        runs: how many were timed.
        peak_gib: the most that was on the GPU for it, with the weights that were left out by repeating a block.
        against: the part that ratios are of.
        ratio: of the seconds, median over rounds where both were timed in the same ones.
        peak_ratio: of the peaks.
        checks, pushes: of the guard.
        note: where nothing was measured, why.
    """

    model: str
    size: str = ""
    setting: str = ""
    part: str = ""
    seconds: float | None = None
    least: float | None = None
    most: float | None = None
    runs: int = 0
    peak_gib: float | None = None
    against: str = ""
    ratio: float | None = None
    peak_ratio: float | None = None
    checks: int = 0
    pushes: int = 0
    note: str = ""

    def __str__(self) -> str:
        seconds = "" if self.seconds is None else f"{self.seconds:.4g} s"
        ratio = "" if self.ratio is None or self.part == self.against else f"{self.ratio:.4g} times {self.against}"
        peak = "" if self.peak_gib is None else f"{self.peak_gib:.2f} GiB"
        return ", ".join(
            filter(None, (self.model, self.size, self.setting, self.part, seconds, ratio, peak, self.note))
        )


def line_of(
    about: Line, part: str, timings: Mapping[str, Timing], against: str, left_out_gib: float = 0.0, cost: Cost = NOTHING
) -> Line:
    """The line of one part among those that were timed, compared with another of them; ``about`` says of what."""
    own, other = timings[part], timings[against]
    return replace(
        about,
        part=part,
        seconds=own.median,
        least=min(own.seconds),
        most=max(own.seconds),
        runs=len(own.seconds),
        peak_gib=None if own.peak_gib is None else own.peak_gib + left_out_gib,
        against=against,
        ratio=_ratio(own, other),
        peak_ratio=_peak_ratio(own, other, left_out_gib),
        checks=cost.checks,
        pushes=cost.pushes,
    )


def _ratio(own: Timing, other: Timing) -> float:
    if len(own.seconds) != len(other.seconds):
        return own.median / other.median
    return statistics.median(mine / theirs for mine, theirs in zip(own.seconds, other.seconds, strict=True))


def _peak_ratio(own: Timing, other: Timing, left_out_gib: float) -> float | None:
    if own.peak_gib is None or other.peak_gib is None:
        return None
    return (own.peak_gib + left_out_gib) / (other.peak_gib + left_out_gib)


@dataclass
class Record:
    """``full_size.csv`` and ``full_size.json`` in a folder: whole after every line."""

    folder: Path
    made_by: dict[str, Any]
    lines: list[Line] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Write the line down and print it."""
        self.lines.append(line)
        rows = [{name: _rounded(value) for name, value in asdict(one).items()} for one in self.lines]
        text = StringIO()
        writer = csv.DictWriter(text, [one.name for one in fields(Line)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomic(self.folder / "full_size.csv", text.getvalue().encode())
        content = {**self.made_by, "lines": rows}
        write_atomic(self.folder / "full_size.json", (json.dumps(content, indent=1) + "\n").encode())
        print(line, flush=True)


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
