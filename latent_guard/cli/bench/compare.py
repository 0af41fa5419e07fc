"""``latent-guard bench compare``: which differences between finished runs are significant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.cli.places import OutFolder
from latent_guard.terminal import Table, say, warn

if TYPE_CHECKING:
    from latent_guard.bench.metrics.significance import Comparison

_Runs = Annotated[list[Path], typer.Argument(help="Finished run folders, two or more.", metavar="RUN RUN...")]
_Out = Annotated[
    Path | None, typer.Option(help="Folder for comparisons.csv and comparisons.json.", parser=OutFolder("--out"))
]


def compare(runs: _Runs, out: _Out = None) -> None:
    """Say which differences between runs are significant.

    A method is compared with its namesake in the other run; one that only one of two runs has, with all of the
    other's. Images are paired by task, prompt text and seed; intervals are bootstrapped over prompts; p-values
    (McNemar's test of decisions where each prompt has one image, else flips of whole prompts) are corrected for all
    comparisons that were made (Holm). A difference is significant if its interval is clear of zero and its test holds;
    those are shown, all of them are written with --out.
    """
    from latent_guard.files.atomic import write_atomic
    from latent_guard.report.run_comparison import compare_runs, read_runs

    found = compare_runs(read_runs(runs))
    _print_significant(found.comparisons)
    for warning in found.warnings:
        warn(warning)
    significant = sum(one.significant for one in found.comparisons)
    say(f"{significant} of {len(found.comparisons)} differences are significant")
    if out is not None:
        write_atomic(out / "comparisons.csv", found.to_csv())
        write_atomic(out / "comparisons.json", found.to_json())
        say(f"wrote {out / 'comparisons.csv'} and {out / 'comparisons.json'}")


def _print_significant(comparisons: Sequence[Comparison]) -> None:
    """Those that are significant, a section a metric; where none is, all of them, to see how far they are from it."""
    chosen = [one for one in comparisons if one.significant] or list(comparisons)
    table = Table("first - second", "difference (95%)", "p, corrected")
    for metric in dict.fromkeys(one.metric for one in chosen):
        table.add_section()
        table.add(metric, "", "", bold=True)
        for one in (one for one in chosen if one.metric == metric):
            told = one.difference
            figures = f"{told.value:+.3g} ({told.low:+.3g} to {told.high:+.3g})"
            table.add(f"  {one.first} - {one.second}", figures, f"{one.corrected:.2g}, {one.test}")
    table.show()
