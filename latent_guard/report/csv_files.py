"""The report as CSV: a row an image, and a row a metric; no cell runs as a formula in a spreadsheet."""

from __future__ import annotations

import pandas as pd

from latent_guard.files.csv_text import table_csv
from latent_guard.intervals import Estimate
from latent_guard.report.review import with_review_groups
from latent_guard.report.run_folder import Run
from latent_guard.report.sections import Section
from latent_guard.report.tables import Cell

METRIC_COLUMNS = ("section", "table", "row", "column", "value", "low", "high", "images", "text")
_END = "\r\n"  # RFC 4180


def images_csv(run: Run) -> bytes:
    """Write every record, with its review group and the row of its unguarded image; numbers as numbers."""
    records = with_review_groups(run.records)
    return table_csv(records.assign(review_group=[group.value for group in records["review_group"]]), _END)


def metrics_csv(sections: tuple[Section, ...]) -> bytes:
    """Write every cell of every table: metrics as numbers (shares of 1), and the text that the page prints."""
    rows = [
        (section.title, table.caption, name, column, *_numbers(cell), cell.text)
        for section in sections
        for table in section.tables
        for name, cells in table.rows
        for column, cell in zip(table.header[1:], cells, strict=True)
    ]
    return table_csv(pd.DataFrame(rows, columns=METRIC_COLUMNS).astype({"images": "Int64"}), _END)


def _numbers(cell: Cell) -> tuple[float | int | None, ...]:
    rate = cell.rate or Estimate.of_nothing()
    return rate.value, rate.low, rate.high, rate.count or None
