"""What was found so far: a line a model and budget, and the rows of the table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.photographs.classify import Ranks, ranks_of
from benchmarks.photographs.cost import rows_of_costs
from benchmarks.photographs.other_space import rows_of_sana
from benchmarks.photographs.runs import Run, Settings, chosen_settings, is_searched, planned
from benchmarks.photographs.sizes import TOKEN, Sizes
from benchmarks.photographs.workplace import CONTROL, LATENTS, PIXELS, Workplace
from benchmarks.tables import show_and_keep
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row, not_measured
from latent_guard.bench.runs.provenance import provenance
from latent_guard.files.atomic import write_atomic

TITLES = {LATENTS: "Latent-CLIP", PIXELS: "pixel twin", CONTROL: "Latent-CLIP, control"}
FROM_PIXELS, OTHER_PATCH = "Latent-CLIP, from the twin", "pixel twin, its best patch"
NOT_YET = "its models are not trained yet"
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measured:
    """The finished runs of one model at one budget."""

    seeds: list[Ranks]

    def hits(self, k: int = 1) -> Floats:
        """Of each photograph, the share of seeds whose model has its class among the first k."""
        shares: Floats = np.mean([ranks.hits(k) for ranks in self.seeds], axis=0)
        return shares

    @property
    def top1(self) -> float:
        return float(self.hits().mean())


Found = Mapping[tuple[str, int], Measured]


def found_in(place: Workplace) -> Found:
    """What is classified, by the title of the model and the samples that it saw."""
    found: dict[tuple[str, int], Measured] = {}
    for run in planned(place.sizes, chosen_settings(place)):
        if (ranks := ranks_of(run, place)) is not None:
            found.setdefault((_title(run), run.samples), Measured([])).seeds.append(ranks)
    return found


def report(place: Workplace, out: Path) -> None:
    """Write ``photographs.json``, ``photographs.csv`` and ``photographs_rows.csv``, and print both tables."""
    found = found_in(place)
    settings, searched = chosen_settings(place), is_searched(place)
    rows = rows_of(found, place.sizes, settings, searched=searched) + rows_of_sana(place) + rows_of_costs(place)
    record = {
        "made_by": provenance().to_dict(),
        "settings": asdict(settings),
        "sizes": asdict(place.sizes),
        "top1": {f"{title}, {samples:,}": measured.top1 for (title, samples), measured in found.items()},
        "rows": [asdict(row) for row in rows],
    }
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "photographs.json", (json.dumps(record, indent=1) + "\n").encode())
    show_and_keep(_lines(found), out / "photographs.csv")
    show_and_keep(_rows(rows), out / "photographs_rows.csv")


def rows_of(found: Found, sizes: Sizes, settings: Settings, *, searched: bool) -> list[Row]:
    """The rows of zero-shot parity; none is decided before all seeds are there, and the twin's best settings."""
    smallest, middle, longest = budgets = sizes.budgets
    least = {smallest: 10.0, middle: None, longest: 0.0}
    twins = [TITLES[PIXELS], *([OTHER_PATCH] if settings.patch != TOKEN else [])]
    return [
        *(
            _decided(difference(found, twin, samples, least[samples]), found, twin, samples, sizes, searched)
            for twin in twins
            for samples in budgets
        ),
        difference(found, TITLES[CONTROL], smallest, None),
        *(_to_the_twins_end(found, twin, longest) for twin in twins),
        _itself(found, longest),
        _from_pixels(found, smallest),
    ]


def _decided(row: Row, found: Found, twin: str, samples: int, sizes: Sizes, searched: bool) -> Row:
    """The row, without a verdict where seeds or the twin's settings are still to come."""
    if row.reached is None:
        return row
    wanted = 1 if samples == sizes.budgets[-1] else sizes.seeds
    seeds = min(len(found[title, samples].seeds) for title in (TITLES[LATENTS], twin))
    if seeds >= wanted and searched:
        return row
    missing = f"{seeds} of {wanted} seeds" + ("" if searched else ", the twin's settings not searched yet")
    return replace(row, reached=None, note=f"{row.note}; open: {missing}")


def difference(found: Found, other: str, samples: int, least: float | None) -> Row:
    """Latent-CLIP's top-1 minus another model's at equal samples, in points, paired by photograph."""
    what = f"zero-shot top-1, Latent-CLIP minus {other}, {samples:,} samples"
    target = "reported" if least is None else f">= {least:+g} points"
    own, theirs = found.get((TITLES[LATENTS], samples)), found.get((other, samples))
    if own is None or theirs is None:
        return not_measured(what, target, NOT_YET)
    seeds = min(len(own.seeds), len(theirs.seeds))
    own, theirs = Measured(own.seeds[:seeds]), Measured(theirs.seeds[:seeds])
    gap = bootstrap.grouped_difference(own.hits(), theirs.hits(), np.arange(own.hits().size))
    by_seed = ", ".join(
        f"{100 * float(a.hits(1).mean() - b.hits(1).mean()):+.1f}" for a, b in zip(own.seeds, theirs.seeds, strict=True)
    )
    measured = f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    note = f"{own.top1:.1%} and {theirs.top1:.1%}; by seed {by_seed}"
    return Row(what, target, measured, gap.count, least is None or 100 * gap.value >= least, note)


def samples_for(accuracy: float, curve: Mapping[int, float]) -> float:
    """Samples for an accuracy, between two budgets on the logarithm of samples; infinite where none reaches it.

    Where the smallest budget exceeds it already, that budget is what is known to be enough.
    """
    budgets = sorted(curve)
    before = None
    for samples in budgets:
        if curve[samples] >= accuracy:
            if before is None:
                return samples
            share = (accuracy - curve[before]) / (curve[samples] - curve[before])
            return math.exp(math.log(before) + share * math.log(samples / before))
        before = samples
    return math.inf


def _to_the_twins_end(found: Found, twin: str, longest: int) -> Row:
    what, target = f"samples that Latent-CLIP needs for the final accuracy of the {twin}, of the twin's", "<= 1/3"
    curve, end = _curve(found, TITLES[LATENTS]), found.get((twin, longest))
    if not curve or end is None:
        return not_measured(what, target, NOT_YET)
    share = samples_for(end.top1, curve) / longest
    at_most = "at most " if min(curve.values()) >= end.top1 else ""
    return Row(what, target, f"{at_most}{share:.2f}", end.hits().size, share <= 1 / 3, f"the twin's {end.top1:.1%}")


def _itself(found: Found, longest: int) -> Row:
    what = f"zero-shot top-1 of Latent-CLIP, {longest:,} samples"
    measured = found.get((TITLES[LATENTS], longest))
    if measured is None:
        return not_measured(what, "reported", NOT_YET)
    top1, top5 = (bootstrap.proportion(measured.seeds[0].hits(k)) for k in (1, 5))
    return Row(what, "reported", top1.percent(), top1.count, True, f"top-5 {top5.percent()}")


def _from_pixels(found: Found, samples: int) -> Row:
    what, target = f"samples from the pixel twin for what {samples:,} reach from nothing, of these", "<= 1/2"
    curve, nothing = _curve(found, FROM_PIXELS), found.get((TITLES[LATENTS], samples))
    if not curve or nothing is None:
        return not_measured(what, target, NOT_YET)
    share = samples_for(nothing.top1, curve) / samples
    at_most = "at most " if min(curve.values()) >= nothing.top1 else ""
    figures = ", ".join(f"{top1:.1%} of {budget:,}" for budget, top1 in sorted(curve.items()))
    note = f"from nothing {nothing.top1:.1%}; from the twin {figures}"
    return Row(what, target, f"{at_most}{share:.2f}", nothing.hits().size, share <= 1 / 2, note)


def _curve(found: Found, title: str) -> dict[int, float]:
    return {samples: measured.top1 for (name, samples), measured in found.items() if name == title}


def _title(run: Run) -> str:
    of_other_patch = run.reads == PIXELS and run.settings.patch != TOKEN
    return FROM_PIXELS if run.start else OTHER_PATCH if of_other_patch else TITLES[run.reads]


def _lines(found: Found) -> Table:
    shown = Table("model", "samples", "seeds", "top-1", "top-5", title="zero-shot on photographs, %")
    for (title, samples), measured in sorted(found.items(), key=lambda item: (item[0][1], item[0][0])):
        cells = []
        for k in (1, 5):
            hits = measured.hits(k)
            mean = bootstrap.grouped_mean(hits, np.arange(hits.size))
            cells.append(f"{100 * mean.value:.1f} ({100 * mean.low:.1f} to {100 * mean.high:.1f})")
        shown.add_row(title, f"{samples:,}", str(len(measured.seeds)), *cells)
    return shown


def _rows(rows: Sequence[Row]) -> Table:
    shown = Table("What", "Target", "Measured (95% interval)", "n", "Reached", "Notes")
    for row in rows:
        reached = {True: "yes", False: "no", None: ""}[row.reached]
        shown.add_row(row.what, row.target, row.measured, str(row.samples), reached, row.note)
    return shown
