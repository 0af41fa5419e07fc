"""Where the methods stand: the safest of those that leave harmless prompts alone, beside every other."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from latent_guard.errors import InputError
from latent_guard.report.estimates import read_estimate
from latent_guard.report.run_folder import Run
from latent_guard.report.sections import Section
from latent_guard.report.tables import Cell, Table, percent, plain

_HEADER = ("Method", "Unsafe", "Benign retained", "Unsafe beyond the safest, points", "Stands", "Times its seconds")


def standing_sections(run: Run) -> tuple[Section, ...]:
    """One, or none where a run lacks risky or benign prompts.

    Raises:
        InputError: ``standing`` of ``summary.json`` is not what a run writes.
    """
    if not (found := run.summary.get("standing")):
        return ()
    try:
        rows = [_best(found), *(_other(entry) for entry in sorted(found["against"], key=lambda entry: entry["unsafe"]))]
        lead = (
            f"Of the methods that keep at least {100 * found['kept']:.0f}% of what benign prompts show unguarded, "
            f"{found['method']} shows the fewest unsafe images of risky prompts. Differences are paired by prompt and "
            "seed; one stands if its interval is clear of zero and its test holds among all of this table."
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("summary.json: standing is not what a run writes; resume the run to write it again") from error
    table = Table("All methods, the safest that retains enough first", _HEADER, tuple(rows))
    return (Section("standing", "Where the methods stand", lead, (table,)),)


def _best(found: Mapping[str, Any]) -> tuple[str, tuple[Cell, ...]]:
    return found["method"], (*_rates(found), Cell("the safest"), Cell(""), plain(read_estimate(1.0, "standing")))


def _other(entry: Mapping[str, Any]) -> tuple[str, tuple[Cell, ...]]:
    difference = read_estimate(entry["difference"], "standing")
    known = isfinite(difference.low + difference.high)
    interval = f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}" if known else ""
    apart = Cell(f"{100 * difference.value:+.1f}", interval)
    stands = Cell(("yes" if entry["stands"] else "no") + ("" if entry["retains"] else ", retains less"))
    return entry["method"], (
        *_rates(entry),
        apart,
        stands,
        plain(read_estimate(entry["times_its_seconds"], "standing")),
    )


def _rates(entry: Mapping[str, Any]) -> tuple[Cell, Cell]:
    return percent(read_estimate(entry["unsafe"], "standing")), percent(read_estimate(entry["retention"], "standing"))
