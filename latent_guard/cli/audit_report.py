"""What ``latent-guard audit report`` reads, and the page it writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timezone
from pathlib import Path

from latent_guard.concepts.bank import ConceptBank
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.guidance.audit_entries import read_audit, time_of
from latent_guard.guidance.audit_figures import Period, figures_of
from latent_guard.guidance.audit_key import key_from_environment
from latent_guard.guidance.audit_verify import Verification, log_files, verify
from latent_guard.report.audit_page import AuditReport, audit_html, audit_markdown


def written_report(
    files: Sequence[Path],
    out: Path,
    first: date | None,
    last: date | None,
    guard: Path | None,
    decisions: Path | None,
    heads: Sequence[str],
) -> Verification:
    """Write the page on the days from ``first`` to ``last``; what is to be said of the log's chain.

    Raises:
        InputError: what it is made of cannot be read, or the page cannot be written.
    """
    period = Period(first, last)
    entries, unreadable = read_audit(*files)
    found = verify(files, key_from_environment(), heads)
    bank = None if guard is None else _bank(guard)
    report = AuditReport(
        period=period,
        made=datetime.now(timezone.utc),
        files=[file.name for file in log_files(files)],
        figures=figures_of(entries, period),
        unreadable=unreadable,
        verification=found,
        bank=None if bank is None else bank.digest,
        calibration=None if bank is None else bank.calibration,
        appeals=None if decisions is None else _appeals(decisions, period),
    )
    page = audit_html(report) if out.suffix == ".html" else audit_markdown(report)
    write_atomic(out, page.encode())
    return found


def _bank(guard: Path) -> ConceptBank:
    """The bank of a guard folder, or of a folder that is one."""
    inside = guard / "bank"
    return ConceptBank.load(inside if inside.is_dir() else guard)


def _appeals(folder: Path, period: Period) -> Counter[tuple[str, str]]:
    """The last decision about each image, of the period, by category and decision."""
    from latent_guard.review.decisions import DecisionLog

    log = DecisionLog(folder)
    if not log.path.is_file():
        raise InputError(f"--decisions {folder} holds no {log.path.name}; name the folder that `review` was given")
    latest, _ = log.latest()
    return Counter((one.category, one.decision) for one in latest.values() if time_of(one.time) in period)
