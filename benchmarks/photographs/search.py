"""The pixel twin's best settings, one after the other, on a part of the training photographs; another part decides.

The Latent-CLIP takes these settings over as they are: whatever tuning there is, the twin has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.table import Table

from benchmarks.photographs.classify import classify, ranks_of
from benchmarks.photographs.runs import Run, Settings, keep_settings, train
from benchmarks.photographs.workplace import PIXELS, Workplace
from benchmarks.tables import show_and_keep
from latent_guard.intervals import proportion


def search(place: Workplace) -> Settings:
    """Choose the rate, then the views, then the patch."""
    sizes, best = place.sizes, Settings()
    tried: list[Settings] = []
    grid: dict[str, Sequence[Any]] = {"rate": sizes.rates, "views": sizes.views, "patch": sizes.patches}
    for name, values in grid.items():
        options = [replace(best, **{name: value}) for value in values]
        tried += [option for option in options if option not in tried]
        scores = {option: _score(option, place) for option in options}
        best = max(scores, key=lambda option: scores[option])
        show_and_keep(_table(tried, place), place.work / "search.csv")
    keep_settings(place, best)
    return best


def _run(settings: Settings, place: Workplace) -> Run:
    return Run(PIXELS, place.sizes.search_samples, 0, settings, held_out=True)


def _score(settings: Settings, place: Workplace) -> float:
    run = _run(settings, place)
    if ranks_of(run, place) is None:
        train(run, place)
    return float(classify(run, place).hits(1).mean())


def _table(tried: Sequence[Settings], place: Workplace) -> Table:
    samples = place.sizes.search_samples
    shown = Table("rate", "views", "patch", "top-1", title=f"the twin on held-out photographs, {samples:,} samples")
    for settings in tried:
        if (ranks := ranks_of(_run(settings, place), place)) is not None:
            top1 = proportion(ranks.hits(1)).percent()
            shown.add_row(f"{settings.rate:g}", str(settings.views), str(settings.patch), top1)
    return shown
