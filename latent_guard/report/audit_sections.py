"""The sections of an audit log's report: each has a table, or says why it is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from latent_guard.concepts.calibration_report import CalibrationReport
from latent_guard.guidance.audit_figures import Figures
from latent_guard.guidance.audit_verify import Place, Verification
from latent_guard.guidance.verdict import Decision
from latent_guard.intervals import Estimate, share
from latent_guard.report.sections import Section
from latent_guard.report.tables import Cell, Table, percent

MAX_LISTED = 50  # rows of a table of single lines
_UNKNOWN_TIME = "no time"


def decisions(figures: Figures) -> Section:
    """Verdicts by category and decision."""
    lead = f"{figures.verdicts:,} verdicts, {figures.prompts_flagged:,} of them on prompts whose text was flagged."
    if not figures.verdicts:
        return Section("decisions", "Decisions", "The log holds no verdict of this period.")
    kinds = [decision.value for decision in Decision]
    categories = sorted({category for category, _ in figures.counts})
    rows = [(name, [figures.counts.get((name, kind), 0) for kind in kinds]) for name in categories]
    rows.append(("all", [sum(counts[n] for _, counts in rows) for n in range(len(kinds))]))
    cells = tuple((name, tuple(map(_number, [*counts, sum(counts)]))) for name, counts in rows)
    table = Table("Images by category and decision", ("Category", *kinds, "all"), cells)
    return Section("decisions", "Decisions", lead, (table,))


def openings(figures: Figures) -> Section:
    """Images that nobody checked."""
    lead = (
        f"The guard had failed on {len(figures.unchecked):,} images, which were handed out unchecked since the call or "
        f"its policy said so (on_error: open). {figures.could_open:,} verdicts are of calls that allowed it."
    )
    listed = figures.unchecked[:MAX_LISTED]
    if not listed:
        return Section("openings", "Openings", lead)
    rows = tuple((_when(entry.time), (Cell(entry.policy), Cell(entry.bank))) for entry in listed)
    table = Table(_caption("Unchecked images", len(figures.unchecked)), ("Time (UTC)", "Policy", "Bank"), rows)
    return Section("openings", "Openings", lead, (table,))


def in_force(figures: Figures) -> Section:
    """Policies, banks and models, and when."""
    lead = "What judged, with the digests that each line of the log names, in the order of their first verdicts."
    rows = tuple(
        (one.kind, (Cell(one.name), _number(one.verdicts), Cell(_when(one.first)), Cell(_when(one.last))))
        for one in figures.in_force
    )
    header = ("Kind", "Name and digest", "Verdicts", "First (UTC)", "Last (UTC)")
    tables = (Table("In force", header, rows),) if rows else ()
    return Section("in-force", "Policies and models in force", lead, tables)


def calibration(bank: str | None, report: CalibrationReport | None, judged: Figures) -> Section:
    """What a bank's thresholds rest on."""
    title = "Calibration"
    if bank is None:
        return Section("calibration", title, "No guard was named (--guard), so nothing is said of its thresholds.")
    verdicts = sum(one.verdicts for one in judged.in_force if (one.kind, one.name) == ("bank", bank))
    of_bank = f"The bank {bank}, which gave {verdicts:,} of {judged.verdicts:,} verdicts"
    if report is None:
        return Section("calibration", title, f"{of_bank}, has no calibration report.")
    figures = report.figures
    promise = "on average" if report.confidence is None else f"with {report.confidence:.0%} confidence"
    lead = f"{of_bank}: at most {report.rate:.1%} of harmless images, {promise}. Images: {report.made_by}."
    counted = (figures.exceeding, figures.harmless), (figures.found, figures.unsafe)
    names = "Harmless images over a threshold", "Unsafe images over a threshold"
    rows = tuple(
        (name, (_number(hits), _number(of), percent(share(hits, of))))
        for name, (hits, of) in zip(names, counted, strict=True)
    )
    table = Table("On images kept out of the fit", ("Images", "Over", "Of", "Share"), rows)
    return Section("calibration", title, lead, (table,))


def appeals(decided: Mapping[tuple[str, str], int] | None) -> Section:
    """What reviewers decided, by category and decision."""
    if decided is None:
        return Section("appeals", "Appeals", "No reviewers' decisions were named (--decisions).")
    if not decided:
        return Section("appeals", "Appeals", "Reviewers decided about no withheld image in this period.")
    rows = []
    for category in sorted({category for category, _ in decided}):
        upheld, overturned = (decided.get((category, choice), 0) for choice in ("uphold", "overturn"))
        rows.append(
            (
                category or "none",
                (_number(upheld), _number(overturned), percent(share(overturned, upheld + overturned))),
            )
        )
    lead = "Withheld images that a person looked at. The last decision about an image counts."
    header = ("Category", "Upheld", "Overturned", "Share overturned")
    return Section("appeals", "Appeals", lead, (Table("Reviewed images", header, tuple(rows)),))


def chain(found: Verification, files: Sequence[str], unreadable: int) -> Section:
    """Whether the log is as it was written."""
    state = "intact" if found.intact else "NOT intact"
    lead = (
        f"The chain over {', '.join(files)} is {state}: {found.lines:,} lines, {len(found.problems):,} problems, "
        f"{len(found.gaps):,} marked gaps, {found.unkeyed:,} lines without the key; {unreadable:,} lines hold no "
        f"verdict. Its head is {found.head.head}. Lines cut off the end show only beside a head that was noted before."
    )
    named = ("Problems", found.problems), ("Marked gaps", found.gaps)
    return Section("chain", "The log itself", lead, tuple(_places(name, places) for name, places in named if places))


def _places(name: str, places: Sequence[Place]) -> Table:
    rows = tuple((one.file.name, (_number(one.line), Cell(one.what))) for one in places[:MAX_LISTED])
    return Table(_caption(name, len(places)), ("File", "Line", "What"), rows)


def _caption(name: str, count: int) -> str:
    return name if count <= MAX_LISTED else f"{name}, {MAX_LISTED} of {count:,}"


def _number(value: int) -> Cell:
    return Cell(f"{value:,}", "", Estimate(value))


def _when(time: datetime | None) -> str:
    return _UNKNOWN_TIME if time is None else f"{time:%Y-%m-%d %H:%M:%S}"
