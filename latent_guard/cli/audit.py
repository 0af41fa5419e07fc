"""``latent-guard audit``: read an audit log."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.cli.commands import Commands
from latent_guard.terminal import Table, put_json, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latent_guard.guidance.audit import Entry

app = Commands(help="The audit log: one JSON line a verdict.")
_NONE = "none"


@app.callback()
def audit() -> None:
    """Keep ``summary`` a subcommand: typer would run a single one without its name."""


@app.command()
def summary(
    file: Annotated[Path, typer.Argument(help="A log of `generate --audit`, or of a guard's `audit`.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Count the verdicts of a log by decision and category."""
    from latent_guard.files.json_text import json_text
    from latent_guard.guidance.audit import read_audit

    entries, unreadable = read_audit(file)
    if as_json:
        put_json(json_text(_counts(entries, unreadable)))
        return
    _table(entries).show()
    if unreadable:
        warn(f"{unreadable} lines are not verdicts and were not counted")


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
