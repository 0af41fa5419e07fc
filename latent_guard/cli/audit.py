"""``latent-guard audit``: read, verify and report an audit log."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.cli.commands import Commands
from latent_guard.cli.places import OutFile
from latent_guard.terminal import Table, put_json, say, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latent_guard.guidance.audit_entries import Entry
    from latent_guard.guidance.audit_verify import Verification

app = Commands(help="The audit log: one JSON line a verdict, in a chain.")
_NONE = "none"
_MAX_SHOWN = 20  # problems, and gaps

_Files = Annotated[
    list[Path],
    typer.Argument(help="A log of `generate --audit`, or of a guard's `audit`; with the files it was rotated into."),
]
_Head = Annotated[
    list[str] | None,
    typer.Option(help="NUMBER:DIGEST that `verify` printed earlier: the log must still hold that line. Repeatable."),
]
_Day = ["%Y-%m-%d"]


@app.command()
def summary(
    files: _Files,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Count the verdicts of a log by decision and category."""
    from latent_guard.files.json_text import json_text
    from latent_guard.guidance.audit_entries import read_audit

    entries, unreadable = read_audit(*files)
    if as_json:
        put_json(json_text(_counts(entries, unreadable)))
        return
    _table(entries).show()
    if unreadable:
        warn(f"{unreadable} lines are not verdicts and were not counted")


@app.command()
def verify(files: _Files, head: _Head = None) -> None:
    """Say which lines of a log were changed, dropped, inserted or reordered. Exit code 1 if any was.

    Lines cut off its end show only beside a --head that was noted before; a log that was written anew, only under the
    key (LATENT_GUARD_AUDIT_KEY) or beside a --head.
    """
    from latent_guard.guidance.audit_key import key_from_environment
    from latent_guard.guidance.audit_verify import verify as verified

    found = verified(files, key_from_environment(), head or ())
    for name, places in (("problem", found.problems), ("gap", found.gaps)):
        for place in places[:_MAX_SHOWN]:
            say(f"{name}: {place}")
        if len(places) > _MAX_SHOWN:
            say(f"and {len(places) - _MAX_SHOWN} more {name}s")
    say(_state(found))
    if not found.intact:
        raise typer.Exit(1)


def _state(found: Verification) -> str:
    if not found.intact:
        return f"NOT intact: {len(found.problems)} problems in {found.lines} lines"
    but = f", but for {len(found.gaps)} marked gaps" if found.gaps else ""
    without = f"; {found.unkeyed} lines are of before there was a key" if found.unkeyed and found.head.keyed else ""
    return f"intact{but}: {found.lines} lines{without}; head {found.head.head}"


@app.command()
def report(
    files: _Files,
    out: Annotated[
        Path, typer.Option(help="The page to write: .html or .md.", parser=OutFile("--out", (".html", ".md")))
    ],
    first: Annotated[datetime | None, typer.Option("--from", formats=_Day, help="First day, in UTC.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=_Day, help="Last day, in UTC.")] = None,
    guard: Annotated[
        Path | None, typer.Option(help="Guard or bank folder, whose calibration the page is to state.")
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(help="Folder of withheld images, for what reviewers decided.")
    ] = None,
    head: _Head = None,
) -> None:
    """Write one page on a period: decisions, openings, policies and models in force, calibration, appeals, the log."""
    from latent_guard.cli.audit_report import written_report

    found = written_report(files, out, first and first.date(), last and last.date(), guard, decisions, head or ())
    say(f"wrote {out}")
    if not found.intact:
        warn("the log is NOT intact, and the page says so; `latent-guard audit verify` lists what was found")


def _counts(entries: Sequence[Entry], unreadable: int) -> dict[str, object]:
    by_decision: dict[str, Counter[str]] = {}
    for entry in entries:
        by_decision.setdefault(entry.decision, Counter())[entry.category or _NONE] += 1
    return {
        "verdicts": len(entries),
        "unreadable_lines": unreadable,
        "prompts_flagged": sum(entry.prompt_flagged for entry in entries),
        "policies": Counter(entry.policy for entry in entries),
        "by_decision": by_decision,
    }


def _table(entries: Sequence[Entry]) -> Table:
    """The table of counts: one row a category, one column a decision."""
    from latent_guard.guidance.verdict import Decision

    decisions = [decision.value for decision in Decision]
    counts = Counter((entry.category or _NONE, entry.decision) for entry in entries)
    categories = sorted({category for category, _ in counts})
    table = Table("category", *decisions, "all", title=f"{len(entries)} verdicts")
    for category in categories:
        cells = [counts[category, decision] for decision in decisions]
        table.add(category, *cells, sum(cells), ends_section=category == categories[-1])
    totals = [sum(counts[category, decision] for category in categories) for decision in decisions]
    table.add("all", *totals, len(entries))
    return table
