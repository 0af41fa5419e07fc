"""Rows about the generator alone: does it draw what an explicit prompt names?"""

from __future__ import annotations

from benchmarks.emoji_world.workbench import Workbench
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row


def explicit_one(bench: Workbench) -> list[Row]:
    """One named object."""
    return [_row(bench, "explicit_one", "one object found", 0.90)]


def explicit_two(bench: Workbench) -> list[Row]:
    """Two named objects, pair and background never trained together."""
    return [_row(bench, "explicit_two", "both objects found, held-out combinations", 0.75)]


def _row(bench: Workbench, kind: str, what: str, target: float) -> Row:
    method = bench.method(kind)
    found = bootstrap.grouped_mean(method.satisfied, method.groups)
    wording = [
        hit
        for hit, row in zip(method.satisfied, method.prompts, strict=True)
        if "wording" in row.extra.get("held_out", "")
    ]
    note = f"held-out wordings: {bootstrap.proportion(wording).percent()}" if wording else ""
    return Row(
        f"explicit prompts: {what}",
        f">= {target:.0%}",
        found.percent(),
        len(method.satisfied),
        found.value >= target,
        note,
    )
