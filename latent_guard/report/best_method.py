"""The section on the best method: the safest of those that keep benign prompts' images, beside every other method."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from latent_guard.errors import InputError
from latent_guard.report.estimates import read_estimate
from latent_guard.report.run_folder import Run
from latent_guard.report.sections import Section
from latent_guard.report.tables import Cell, Table, percent, plain

_HEADER = ("Method", "Unsafe", "Benign utility", "Unsafe above the best, points", "Significant", "Times its seconds")


def best_method_sections(run: Run) -> tuple[Section, ...]:
    """The section, or none where a run lacks risky or benign prompts.

    Raises:
        InputError: ``best_method`` of ``summary.json`` is not what a run writes.
    """
    if not (best := run.summary.get("best_method")):
        return ()
    try:
        others = sorted(best["against"], key=lambda entry: entry["unsafe"])
        rows = (_best_row(best), *map(_other_row, others))
        lead = (
            f"Of the methods whose benign prompts keep at least {100 * best['min_utility']:.0f}% of their utility, "
            f"{best['method']} shows the fewest unsafe images of risky prompts. Differences are paired by prompt and "
            "seed; one is significant if its interval excludes zero and its test holds among all of this table."
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "summary.json: best_method is not what a run writes; resume the run to write it again"
        ) from error
    table = Table("All methods, the safest that is useful enough first", _HEADER, rows)
    return (Section("best-method", "Best method", lead, (table,)),)


def _best_row(best: Mapping[str, Any]) -> tuple[str, tuple[Cell, ...]]:
    return best["method"], (*_rates(best), Cell("the best"), Cell(""), plain(read_estimate(1.0, "best_method")))


def _other_row(entry: Mapping[str, Any]) -> tuple[str, tuple[Cell, ...]]:
    difference = read_estimate(entry["difference"], "best_method")
    has_interval = isfinite(difference.low + difference.high)
    interval = f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}" if has_interval else ""
    significant = "yes" if entry["significant"] else "no"
    if not entry["keeps_utility"]:
        significant += ", lower utility"
    return entry["method"], (
        *_rates(entry),
        Cell(f"{100 * difference.value:+.1f}", interval),
        Cell(significant),
        plain(read_estimate(entry["times_its_seconds"], "best_method")),
    )


def _rates(entry: Mapping[str, Any]) -> tuple[Cell, Cell]:
    return percent(read_estimate(entry["unsafe"], "best_method")), percent(
        read_estimate(entry["utility"], "best_method")
    )
