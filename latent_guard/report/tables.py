"""The tables of a report, made from the summary; each writer prints them in its own format."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latent_guard.intervals import Estimate
from latent_guard.report.estimates import read_estimate, read_share
from latent_guard.report.run_folder import Run

UNKNOWN = "\N{EM DASH}"
_SHARES = ("unsafe", "utility", "refusal", "rate", "share", "satisfied", "blocked", "touched", "precision", "recall")


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, and for a metric its 95% interval as text and its value."""

    text: str
    interval: str = ""
    rate: Estimate | None = None


@dataclass(frozen=True)
class Table:
    """A caption, a name for each column, and rows whose first entry names the row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]

    @property
    def in_words(self) -> tuple[bool, ...]:
        """Whether each column but the first holds words rather than numbers."""
        columns = zip(*(cells for _, cells in self.rows), strict=True)
        return tuple(all(cell.rate is None and cell.text != UNKNOWN for cell in column) for column in columns)


def percent(rate: Estimate) -> Cell:
    """Format an estimate as ``12.3%`` with ``8.9 to 15.6``."""
    if math.isnan(rate.value):
        return Cell(UNKNOWN)
    interval = "" if math.isnan(rate.low + rate.high) else f"{100 * rate.low:.1f} to {100 * rate.high:.1f}"
    return Cell(f"{100 * rate.value:.1f}%", interval, rate)


def plain(rate: Estimate) -> Cell:
    """Format an estimate and its interval with three significant digits."""
    if math.isnan(rate.value):
        return Cell(UNKNOWN)
    interval = "" if math.isnan(rate.low + rate.high) else f"{_digits(rate.low)} to {_digits(rate.high)}"
    return Cell(_digits(rate.value), interval, rate)


def summary_tables(run: Run) -> tuple[Table, ...]:
    """A table a task, a method a row: the metrics of ``summary.json``."""
    methods = run.summary["methods"]
    tasks = list(dict.fromkeys(task for of_method in methods.values() for task in of_method))
    tables = []
    for task in tasks:
        measured = {method: of_method[task] for method, of_method in methods.items() if task in of_method}
        # Those of a category have a table of their own.
        names = list(dict.fromkeys(name for metrics in measured.values() for name in metrics if ": " not in name))
        rows = [
            (method, tuple(_metric(name, metrics.get(name), f"methods, {method}, {task}, {name}") for name in names))
            for method, metrics in measured.items()
        ]
        tables.append(Table(f"Prompts: {task}", ("Method", *map(_words, names)), tuple(rows)))
    return tuple(tables)


def comparison_table(comparisons: Sequence[Mapping[str, Any]], most: int) -> Table:
    """Paired differences as the run states them, one a row; of more than ``most``, those with the first method."""
    every = len(comparisons)
    if every > most:
        comparisons = [entry for entry in comparisons if entry.get("first") == comparisons[0].get("first")]
    names = list(dict.fromkeys(name for entry in comparisons for name in entry))
    rows = [[_stated(entry.get(name)) for name in names] for entry in comparisons]
    caption = "Differences between methods, paired by prompt and seed"
    if every > len(rows):
        caption += f": those with {rows[0][1].text}, {len(rows)} of {every} (all of them are in summary.json)"
    return Table(caption, tuple(map(_words, names)), tuple((row[0].text, tuple(row[1:])) for row in rows if row))


def curve_table(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """The points of the safety-against-utility curves."""
    rows = []
    for method, points in curves.items():
        for point in points:
            where = f"curves, {method}"
            unsafe = read_estimate(point.get("unsafe"), where)
            utility = read_estimate(point.get("utility"), where)
            rows.append((method, (_stated(point.get("strength")), percent(unsafe), percent(utility))))
    return Table("Each method at each strength", ("Method", "Strength", "Unsafe", "Benign utility"), tuple(rows))


def category_rates(run: Run) -> dict[str, dict[str, Estimate]]:
    """Method -> category -> share of its images that are unsafe and shown."""
    return {
        method: {name: read_estimate(share, f"categories, {method}, {name}") for name, share in of_method.items()}
        for method, of_method in run.summary["categories"].items()
    }


def category_table(rates: Mapping[str, Mapping[str, Estimate]]) -> Table:
    """A category a row, a method a column."""
    categories = sorted({category for of_method in rates.values() for category in of_method})
    rows = [
        (category, tuple(percent(of_method.get(category, Estimate.of_nothing())) for of_method in rates.values()))
        for category in categories
    ]
    return Table("Unsafe images shown, by category", ("Category", *rates), tuple(rows))


def calibration_table(bins: Sequence[Mapping[str, Any]]) -> Table:
    """The bins of the reliability diagram, with Wilson's interval of each share."""
    rows = []
    for point in bins:
        stated = read_estimate(point.get("probability"), "calibration")
        measured = read_share(point, "calibration")
        rows.append((_of_series(point, percent(stated).text), (percent(measured), plain(Estimate(measured.count)))))
    return Table(
        "What the judge found at each stated probability", ("Stated probability", "Share unsafe", "Images"), tuple(rows)
    )


def step_table(steps: Sequence[Mapping[str, Any]]) -> Table:
    """Precision and recall of the check at each step."""
    rows = []
    for point in steps:
        figures = [percent(read_estimate(point.get(name), "precision_recall")) for name in ("precision", "recall")]
        rows.append((_of_series(point, _stated(point.get("step")).text), tuple(figures)))
    return Table("The check at each step", ("Step", "Precision", "Recall"), tuple(rows))


def cost_rates(run: Run) -> dict[str, tuple[Estimate, ...]]:
    """Method -> median seconds an image, times the unguarded method's, and mean model evaluations, over all tasks."""
    names = ("seconds", "times_unguarded", "evaluations")
    return {
        method: tuple(read_estimate(figures.get(name), f"cost, {method}, {name}") for name in names)
        for method, figures in run.summary["cost"].items()
    }


def cost_table(rates: Mapping[str, Sequence[Estimate]]) -> Table:
    """A method a row."""
    rows = tuple((method, tuple(map(plain, figures))) for method, figures in rates.items())
    header = ("Method", "Seconds, median", "Times the unguarded", "Model evaluations, mean")
    return Table("Cost of an image", header, rows)


def series_name(point: Mapping[str, Any]) -> str:
    """The name of a point's series: its method and category, as far as it names them."""
    return ", ".join(str(point[name]) for name in ("method", "category") if point.get(name))


def _of_series(point: Mapping[str, Any], text: str) -> str:
    series = series_name(point)
    return f"{series}: {text}" if series else text


def _metric(name: str, stored: Any, where: str) -> Cell:
    rate = read_estimate(stored, where)
    return percent(rate) if any(word in name.lower() for word in _SHARES) else plain(rate)


def _words(name: str) -> str:
    return name.replace("_", " ").strip().capitalize()


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # 3g would turn to powers of ten


def _stated(value: Any) -> Cell:
    """Format a value of a run's summary: numbers as estimates, the rest as words."""
    if value is None or isinstance(value, bool):
        return Cell(UNKNOWN if value is None else "yes" if value else "no")
    if isinstance(value, (int, float, Mapping)):
        return plain(read_estimate(value, "an entry"))
    return Cell(str(value))
