"""A table of figures, shown and kept: ``benchmarks/RESULTS.md`` is made of what is kept."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.table import Table

from latent_guard.files.atomic import write_atomic


def show_and_keep(table: Table, path: Path) -> None:
    """Print a table, and write its header and rows as CSV."""
    Console().print(table)
    buffer = StringIO()
    rows = zip(*(list(column.cells) for column in table.columns), strict=True)
    csv.writer(buffer, lineterminator="\n").writerows([[column.header for column in table.columns], *rows])
    write_atomic(path, buffer.getvalue().encode())
