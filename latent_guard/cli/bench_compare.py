"""``latent-guard bench compare``: which differences between finished runs stand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from latent_guard.bench.comparisons import Comparison

_Runs = Annotated[list[Path], typer.Argument(help="Finished run folders, two or more.", metavar="RUN RUN...")]
_Out = Annotated[Path | None, typer.Option(help="Folder for comparisons.csv and comparisons.json.")]


def compare(runs: _Runs, out: _Out = None) -> None:
    """Say which differences between runs stand.

    A method is compared with its namesake in the other run; one that only one of two runs has, with all of the
    other's. Images are paired by task, prompt text and seed; intervals are bootstrapped over prompts; p-values
    (McNemar's test of decisions where each prompt has one image, else flips of whole prompts) are corrected for all
    comparisons of the table (Holm). A difference stands if its interval is clear of zero and its test holds.
    """
    from rich.console import Console

    from latent_guard.cli.outputs import check_writable, write_file
    from latent_guard.report.run_comparison import compare_runs, read_runs

    if out is not None:
        check_writable(out)
    found = compare_runs(read_runs(runs))
    _print_table(Console(markup=False, emoji=False, highlight=False), found.comparisons)
    for warning in found.warnings:
        typer.echo(f"warning: {warning}", err=True)
    standing = sum(one.stands for one in found.comparisons)
    typer.echo(f"{standing} of {len(found.comparisons)} differences stand")
    if out is not None:
        write_file(out / "comparisons.csv", found.to_csv())
        write_file(out / "comparisons.json", found.to_json())
        typer.echo(f"wrote {out / 'comparisons.csv'} and {out / 'comparisons.json'}")


def _print_table(console: Console, comparisons: Sequence[Comparison]) -> None:
    from rich.table import Table

    table = Table()
    for name in ("task: metric", "first", "second", "first - second", "95%", "pairs", "test", "p, corrected", "stands"):
        table.add_column(name, overflow="fold")  # no name is cut short on a narrow terminal
    for one in comparisons:
        told = one.difference
        figures = f"{told.value:+.3g}", f"{told.low:+.3g} to {told.high:+.3g}", str(told.count)
        said = one.test, f"{one.corrected:.2g}", "yes" if one.stands else "no"
        table.add_row(one.metric, one.first, one.second, *figures, *said, style="bold" if one.stands else None)
    console.print(table)
