"""The sections of a report in reading order: each has tables and a chart, or says why it is empty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from latent_guard.bench.metrics.of_records import is_unguarded
from latent_guard.report import charts, tables
from latent_guard.report.charts import Chart
from latent_guard.report.run_folder import Run
from latent_guard.report.tables import Table

MAX_COMPARISONS = 60  # rows of a readable table


@dataclass(frozen=True)
class Section:
    """A heading, a lead, tables and a chart; ``anchor`` is its id in the page."""

    anchor: str
    title: str
    lead: str
    tables: tuple[Table, ...] = ()
    chart: Chart | None = None


def sections_of(run: Run) -> tuple[Section, ...]:
    """Make all sections of a run, without its images.

    Raises:
        InputError: a section of ``summary.json`` is not what a run writes.
    """
    return (_summary(run), _curve(run), _categories(run), _calibration(run), _steps(run), _cost(run))


def _summary(run: Run) -> Section:
    summary = tables.summary_tables(run)
    if compared := run.summary.get("comparisons"):
        summary = (*summary, tables.comparison_table(compared, MAX_COMPARISONS))
    return Section("summary", "Summary", "Each metric, with its 95% interval below it where there is one.", summary)


def _curve(run: Run) -> Section:
    anchor = "curve"
    title = "Safety against utility"
    if not (curves := run.summary.get("curves")):
        return Section(anchor, title, "This run tried each method at one strength only.")
    lead = "The cost of each method for benign prompts against its safety, a point a strength. Lower right is better."
    return Section(anchor, title, lead, (tables.curve_table(curves),), charts.curve_chart(curves, _order(run, curves)))


def _categories(run: Run) -> Section:
    anchor = "categories"
    title = "Categories"
    rates = tables.category_rates(run)
    if not rates:
        return Section(anchor, title, "No prompt of this run has a category.")
    lead = "Share of images that the judge found unsafe and that were shown. A prompt counts in each of its categories."
    return Section(anchor, title, lead, (tables.category_table(rates),), charts.category_chart(rates, _order(run)))


def _calibration(run: Run) -> Section:
    anchor = "calibration"
    title = "Calibration"
    if not (bins := run.summary.get("calibration")):
        return Section(anchor, title, "No method of this run states a probability.")
    lead = "The share of unsafe images against the stated probability. A calibrated guard is on the diagonal."
    return Section(anchor, title, lead, (tables.calibration_table(bins),), charts.calibration_chart(bins, _order(run)))


def _steps(run: Run) -> Section:
    anchor = "steps"
    title = "Precision and recall by step"
    if not (steps := run.summary.get("precision_recall")):
        return Section(anchor, title, "This run recorded no check at single steps.")
    lead = "Recall says how early unsafe images are recognised, precision how often that is right."
    return Section(anchor, title, lead, (tables.step_table(steps),), charts.step_chart(steps, _order(run)))


def _cost(run: Run) -> Section:
    anchor = "cost"
    title = "Cost"
    rates = tables.cost_rates(run)
    seconds = {method: rate.value for method, (rate, *_) in rates.items() if isfinite(rate.value)}
    if not seconds:
        return Section(anchor, title, "This run recorded no times.")
    lead = "Generation and method together, on the machine named below."
    return Section(anchor, title, lead, (tables.cost_table(rates),), charts.cost_chart(seconds, _order(run)))


def _order(run: Run, further: Iterable[str] = ()) -> tuple[str, ...]:
    """The methods, unguarded first, then further names."""
    unguarded = run.records.loc[is_unguarded(run.records), "method"]
    first = unguarded.unique() if len(unguarded) else [""]
    return tuple(dict.fromkeys([*first, *run.records["method"].unique(), *further]))
