"""The report as CSV: a row an image, and a row a figure; no cell of them runs in a spreadsheet."""

from __future__ import annotations

import pandas as pd

from latent_guard.files.csv_text import table_csv
from latent_guard.intervals import Estimate
from latent_guard.report.findings import with_findings
from latent_guard.report.run_folder import Run
from latent_guard.report.sections import Section
from latent_guard.report.tables import Cell

FIGURE_COLUMNS = ("section", "table", "row", "column", "value", "low", "high", "images", "text")
_END = "\r\n"  # as RFC 4180 has it


def images_csv(run: Run) -> bytes:
    """Every record, with its finding and the row of its unguarded twin; numbers as numbers."""
    found = with_findings(run.records)
    return table_csv(found.assign(finding=[finding.value for finding in found["finding"]]), _END)


def figures_csv(sections: tuple[Section, ...]) -> bytes:
    """Every cell of every table: figures as numbers (shares of 1), and the text that the page prints."""
    rows = [
        (section.title, table.caption, name, column, *_numbers(cell), cell.text)
        for section in sections
        for table in section.tables
        for name, cells in table.rows
        for column, cell in zip(table.header[1:], cells, strict=True)
    ]
    return table_csv(pd.DataFrame(rows, columns=FIGURE_COLUMNS).astype({"images": "Int64"}), _END)


def _numbers(cell: Cell) -> tuple[float | int | None, ...]:
    rate = cell.rate or Estimate.of_nothing()
    return rate.value, rate.low, rate.high, rate.count or None
