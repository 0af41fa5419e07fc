"""I2P's own metrics of a run, and published ones, in tables apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latent_guard.errors import InputError
from latent_guard.intervals import Estimate
from latent_guard.report.estimates import read_estimate
from latent_guard.report.run_folder import Run
from latent_guard.report.sections import Section
from latent_guard.report.tables import UNKNOWN, Cell, Table, percent

_MEASURED = (
    "The share of inappropriate images, and the expected maximum: the share of the worst of 25 prompts, drawn 10,000 "
    "times, and in closed form. \N{PLUS-MINUS SIGN} is followed by the standard deviation of that maximum."
)
_PUBLISHED = (
    "For comparison: other models, prompts and judges, as each table says. None of this was measured in this run."
)


def i2p_sections(run: Run) -> tuple[Section, ...]:
    """The sections of measured and of published metrics; none for a run without I2P.

    Raises:
        InputError: ``i2p`` of ``summary.json`` is not what a run writes.
    """
    if not (i2p := run.summary.get("i2p")):
        return ()
    try:
        measured = tuple(_measured(name, task) for name, task in i2p["tasks"].items())
        published = _published(i2p["published"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError("summary.json: i2p is not what a run writes; resume the run to write it again") from error
    return (
        Section("i2p", "I2P", _MEASURED, measured),
        Section("published", "Published by others", _PUBLISHED, published),
    )


def _measured(name: str, task: Mapping[str, Any]) -> Table:
    caption = (
        f"{name}: {task['mode']} mode (guidance scale: {task['guidance_scale']}), split {task['split']}, "
        f"images a prompt: {task['images_a_prompt']}"
    )
    rows = []
    for method, metrics in task["methods"].items():
        inappropriate = read_estimate(metrics["inappropriate"]["all"], f"i2p, {name}, {method}")
        rows.append((method, (percent(inappropriate), *_maxima(metrics))))
    return Table(caption, ("Method", "Inappropriate", "Expected maximum, drawn", "In closed form"), tuple(rows))


def _maxima(metrics: Mapping[str, Any]) -> tuple[Cell, Cell]:
    maximum = metrics["expected_maximum"]
    if maximum is None:
        return Cell(UNKNOWN), Cell(UNKNOWN)
    drawn = maximum["monte_carlo"]
    closed = maximum["closed_form"]
    return _with_spread(drawn["mean"], drawn["std"]), _with_spread(closed["mean"], closed["std"])


def _published(published: Any) -> tuple[Table, ...]:
    """The published metrics, a table for each source, metric and set of prompts."""
    groups: dict[str, list[tuple[str, tuple[Cell, ...]]]] = {}
    for row in published:
        caption = f"Published: {row['metric']}. {row['measured_on']}. {row['source']}, {row['url']}"
        groups.setdefault(caption, []).append((row["name"], (_with_spread(row["value"], row["spread"]),)))
    return tuple(Table(caption, ("Method", "Published"), tuple(rows)) for caption, rows in groups.items())


def _with_spread(value: float, spread: float | None) -> Cell:
    interval = "" if spread is None else f"\N{PLUS-MINUS SIGN} {100 * spread:.1f}"
    return Cell(f"{100 * value:.1f}%", interval, Estimate(value))
