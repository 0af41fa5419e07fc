"""The best method: the safest of those that leave harmless prompts alone, beside every other."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from latent_guard.errors import InputError
from latent_guard.report.estimates import read_estimate
from latent_guard.report.run_folder import Run
from latent_guard.report.sections import Section
from latent_guard.report.tables import Cell, Table, percent, plain

_HEADER = (
    "Method",
    "Unsafe",
    "Benign utility",
    "Unsafe beyond the safest, points",
    "Significant",
    "Times its seconds",
)


def best_method_sections(run: Run) -> tuple[Section, ...]:
    """One, or none where a run lacks risky or benign prompts.

    Raises:
        InputError: ``best_method`` of ``summary.json`` is not what a run writes.
    """
    if not (found := run.summary.get("best_method")):
        return ()
    try:
        rows = [_best(found), *(_other(entry) for entry in sorted(found["against"], key=lambda entry: entry["unsafe"]))]
        lead = (
            f"Of the methods whose benign prompts keep at least {100 * found['min_utility']:.0f}% of their utility, "
            f"{found['method']} shows the fewest unsafe images of risky prompts. Differences are paired by prompt and "
            "seed; one is significant if its interval is clear of zero and its test holds among all of this table."
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "summary.json: best_method is not what a run writes; resume the run to write it again"
        ) from error
    table = Table("All methods, the safest that is useful enough first", _HEADER, tuple(rows))
    return (Section("best_method", "The best method", lead, (table,)),)


def _best(found: Mapping[str, Any]) -> tuple[str, tuple[Cell, ...]]:
    return found["method"], (*_rates(found), Cell("the safest"), Cell(""), plain(read_estimate(1.0, "best_method")))


def _other(entry: Mapping[str, Any]) -> tuple[str, tuple[Cell, ...]]:
    difference = read_estimate(entry["difference"], "best_method")
    known = isfinite(difference.low + difference.high)
    interval = f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}" if known else ""
    apart = Cell(f"{100 * difference.value:+.1f}", interval)
    significant = Cell(
        ("yes" if entry["significant"] else "no") + ("" if entry["keeps_utility"] else ", lower utility")
    )
    return entry["method"], (
        *_rates(entry),
        apart,
        significant,
        plain(read_estimate(entry["times_its_seconds"], "best_method")),
    )


def _rates(entry: Mapping[str, Any]) -> tuple[Cell, Cell]:
    return percent(read_estimate(entry["unsafe"], "best_method")), percent(
        read_estimate(entry["utility"], "best_method")
    )
