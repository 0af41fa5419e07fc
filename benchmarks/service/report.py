"""The rows of the service's table, kept stage by stage."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from benchmarks.tables import show_and_keep
from latent_guard.bench.result_table import VERDICTS, Row, RowStore
from latent_guard.bench.runs.provenance import provenance

STAGES = ("soak", "speed", "refused", "hostile", "kills", "ray-kills")
KEY = {"measures": "service"}


def keep(stage: str, rows: list[Row], out: Path) -> None:
    """Keep the rows of a stage in ``service.json``, with what made them."""
    made_by = provenance().to_dict()
    print(f"{stage} measured by {made_by}")
    _store(out).put(stage, rows)


def report(out: Path) -> None:
    """Print the table of all stages that were measured, and write it as ``service.csv``."""
    store = _store(out)
    table = Table("What", "Target", "Measured (95% interval)", "n", "Verdict", "Notes", title="Service")
    for row in (row for stage in STAGES for row in store.get(stage)):
        table.add_row(row.what, row.target, row.measured, str(row.samples), VERDICTS[row.reached], row.note)
    show_and_keep(table, out / "service.csv")


def _store(out: Path) -> RowStore:
    out.mkdir(parents=True, exist_ok=True)
    return RowStore(out / "service.json", KEY)
