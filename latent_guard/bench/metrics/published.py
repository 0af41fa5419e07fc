"""Figures that others published, with where they stand: for comparison, never mixed with measured ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latent_guard.files.documents import read_yaml

_FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class PublishedMetric:
    """One figure of another's table.

    ``metric`` is ``"inappropriate probability"`` or ``"expected maximum inappropriateness"``, both in 0..1; ``spread``
    is the standard deviation that the source gives, if any; ``measured_on`` says which prompts and judges.
    """

    name: str
    source: str
    url: str
    metric: str
    value: float
    measured_on: str
    spread: float | None = None


def published_metrics() -> list[PublishedMetric]:
    """All of them, in the order of the file that ships."""
    tables: list[dict[str, Any]] = read_yaml(_FILE, "the published figures")
    return [
        PublishedMetric(**row, **{key: value for key, value in table.items() if key != "rows"})
        for table in tables
        for row in table["rows"]
    ]
