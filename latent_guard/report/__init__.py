"""The report of a benchmark run: its records as tables, charts and a gallery, in HTML, Markdown and CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.report.run_comparison import compare_runs
    from latent_guard.report.run_folder import Run, read_run
    from latent_guard.report.write import ReportFiles, write_report

__all__ = ["ReportFiles", "Run", "compare_runs", "read_run", "write_report"]

_MODULES = {
    "run_comparison": ("compare_runs",),
    "run_folder": ("Run", "read_run"),
    "write": ("ReportFiles", "write_report"),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
