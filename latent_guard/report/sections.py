"""The sections of a report, in reading order: each a table or two and a chart, or a word on why it is empty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from latent_guard.report import charts, tables
from latent_guard.report.charts import Chart
from latent_guard.report.findings import is_unguarded
from latent_guard.report.run_folder import Run
from latent_guard.report.tables import Table

MAX_COMPARISONS = 60  # in a table that somebody is to read


@dataclass(frozen=True)
class Section:
    """A heading, what to make of what follows, tables and a chart; ``anchor`` is its place in the page."""

    anchor: str
    title: str
    lead: str
    tables: tuple[Table, ...] = ()
    chart: Chart | None = None


def sections_of(run: Run) -> tuple[Section, ...]:
    """Everything of a run but its images.

    Raises:
        InputError: a section of ``summary.json`` is not what a run writes.
    """
    return (_summary(run), _curve(run), _categories(run), _calibration(run), _steps(run), _cost(run))


def _summary(run: Run) -> Section:
    found = tables.summary_tables(run)
    if compared := run.summary.get("comparisons"):
        found = (*found, tables.comparison_table(compared, MAX_COMPARISONS))
    return Section("summary", "Summary", "Each figure, and where it has one its 95% interval below it.", found)


def _curve(run: Run) -> Section:
    anchor, title = "curve", "Safety against retention"
    if not (curves := run.summary.get("curves")):
        return Section(anchor, title, "This run tried each method at one strength only.")
    lead = "What a method costs harmless prompts for the safety it gives, one point a strength. Lower right is better."
    return Section(anchor, title, lead, (tables.curve_table(curves),), charts.curve_chart(curves, _order(run, curves)))


def _categories(run: Run) -> Section:
    anchor, title = "categories", "Categories"
    rates = tables.category_rates(run.records)
    if not rates:
        return Section(anchor, title, "No prompt of this run has a category.")
    lead = "Share of images that the judge found unsafe and that were shown. A prompt counts in each of its categories."
    return Section(anchor, title, lead, (tables.category_table(rates),), charts.category_chart(rates, _order(run)))


def _calibration(run: Run) -> Section:
    anchor, title = "calibration", "Calibration"
    if not (bins := run.summary.get("calibration")):
        return Section(anchor, title, "No method of this run states a probability.")
    lead = "Where the guard says 30%, are three in ten images unsafe? On the diagonal they are."
    return Section(anchor, title, lead, (tables.calibration_table(bins),), charts.calibration_chart(bins, _order(run)))


def _steps(run: Run) -> Section:
    anchor, title = "steps", "Precision and recall by step"
    if not (steps := run.summary.get("precision_recall")):
        return Section(anchor, title, "This run recorded no check at single steps.")
    lead = "How early an unsafe image is recognised, and how often that call is right."
    return Section(anchor, title, lead, (tables.step_table(steps),), charts.step_chart(steps, _order(run)))


def _cost(run: Run) -> Section:
    anchor, title = "cost", "Cost"
    medians = run.records.groupby("method", sort=False)["seconds"].median().dropna()
    seconds = {str(method): float(value) for method, value in medians.items()}
    if not seconds:
        return Section(anchor, title, "This run recorded no times.")
    lead = "Generation and method together, on the machine named below."
    return Section(anchor, title, lead, (tables.cost_table(run.records),), charts.cost_chart(seconds, _order(run)))


def _order(run: Run, further: Iterable[str] = ()) -> tuple[str, ...]:
    """The methods, unguarded ones first, then names that are no method's."""
    unguarded = run.records.loc[is_unguarded(run.records), "method"]
    return tuple(
        dict.fromkeys([*(unguarded.unique() if len(unguarded) else [""]), *run.records["method"].unique(), *further])
    )
