"""The report as Markdown: the same tables, and the images to review first as a list."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from latent_guard.report.gallery import WHY, in_review_order
from latent_guard.report.review import ReviewGroup
from latent_guard.report.run_folder import Run
from latent_guard.report.sections import Section
from latent_guard.report.tables import Cell, Table
from latent_guard.report.untrusted_text import markdown_cell, markdown_code, shortened

MAX_LISTED = 50  # images of a group; the CSV has them all
_LISTED = ("row", "method", "task", "decision", "categories", "prompt")
_LISTED_HEADER = ("Row", "Method", "Task", "Decision", "Categories", "Prompt")


def markdown_page(run: Run, sections: Sequence[Section]) -> str:
    """Write the whole page."""
    parts = [f"# {markdown_cell(run.name)}\n"]
    if run.out_of_domain:
        parts.append(f"**{markdown_cell(run.out_of_domain)}**\n")
    for section in sections:
        parts += [f"## {section.title}\n", f"{section.lead}\n", *map(table_text, section.tables)]
    ordered = in_review_order(run.records)
    for kind in (ReviewGroup.MISSED, ReviewGroup.FALSE_ALARM):
        parts += [f"## {kind.value}\n", _listed(ordered[ordered["review_group"] == kind], WHY[kind])]
    command = run.summary.get("command")
    parts += ["## Rerun\n", markdown_code(str(command)) if command else "This run kept no command.\n"]
    return "\n".join(parts)


def _listed(records: pd.DataFrame, why: str) -> str:
    if records.empty:
        return "None in this run.\n"
    rows = [
        [str(record["row"]), *(shortened(record[name]).start for name in _LISTED[1:])]
        for record in records.head(MAX_LISTED).to_dict("records")
    ]
    number = f"{len(records)} images" if len(records) <= MAX_LISTED else f"{MAX_LISTED} of {len(records)} images"
    return f"{why} {number}.\n\n{_lines(_LISTED_HEADER, rows)}"


def table_text(table: Table) -> str:
    """A table below its caption."""
    rows = [[name, *map(_cell_text, cells)] for name, cells in table.rows]
    return f"**{markdown_cell(table.caption)}**\n\n{_lines(table.header, rows)}"


def _cell_text(cell: Cell) -> str:
    return f"{cell.text} ({cell.interval})" if cell.interval else cell.text


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[markdown_cell(cell) for cell in line] for line in (header, *rows)]
    lines.insert(1, ["---"] * len(header))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
