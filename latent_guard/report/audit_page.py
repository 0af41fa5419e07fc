"""The report of an audit log: one page, as HTML without network access or script, or as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from latent_guard.concepts.calibration_report import CalibrationReport
from latent_guard.guidance.audit_figures import Figures, Period
from latent_guard.guidance.audit_verify import Verification
from latent_guard.report import audit_sections
from latent_guard.report.inline import csp_hash, environment, template_text
from latent_guard.report.markdown import table_text
from latent_guard.report.sections import Section
from latent_guard.report.untrusted_text import markdown_cell


@dataclass(frozen=True)
class AuditReport:
    """All that a report says.

    Attributes:
        period: that was asked for.
        made: when the report was.
        files: the names of the log's files.
        figures: of the log in the period.
        unreadable: lines of the log that hold no verdict.
        verification: of the log's chain, all of it.
        bank: the digest of the bank that was asked for; None: none was.
        calibration: that bank's; None: it has none.
        appeals: reviewers' decisions in the period, by category and decision; None: not asked for.
    """

    period: Period
    made: datetime
    files: Sequence[str]
    figures: Figures
    unreadable: int
    verification: Verification
    bank: str | None = None
    calibration: CalibrationReport | None = None
    appeals: Mapping[tuple[str, str], int] | None = None

    @property
    def sections(self) -> tuple[Section, ...]:
        """Its sections, in reading order."""
        return (
            audit_sections.decisions(self.figures),
            audit_sections.openings(self.figures),
            audit_sections.in_force(self.figures),
            audit_sections.calibration(self.bank, self.calibration, self.figures),
            audit_sections.appeals(self.appeals),
            audit_sections.chain(self.verification, self.files, self.unreadable),
        )

    @property
    def title(self) -> str:
        """The period in words."""
        first, last = self.period.first, self.period.last
        if first is None and last is None:
            return "Audit report, the whole log"
        return f"Audit report, {first or 'the beginning'} to {last or 'the end'}"

    @property
    def alarm(self) -> str:
        """What nobody may overlook; empty for nothing."""
        broken = "" if self.verification.intact else "The log is NOT as it was written: see its last section. "
        unchecked = len(self.figures.unchecked)
        return broken + (f"{unchecked:,} images were handed out unchecked." if unchecked else "")


def audit_html(report: AuditReport) -> str:
    """Write the whole page. The template escapes every value, and no text of a log becomes style."""
    style = template_text("latent_guard.report", "report.css")
    policy = f"default-src 'none'; img-src data:; style-src {csp_hash(style)}; base-uri 'none'; form-action 'none'"
    page: str = (
        environment("latent_guard.report")
        .get_template("audit.html.j2")
        .render(report=report, made=_made(report), policy=policy, style=Markup(style))
    )
    return page


def audit_markdown(report: AuditReport) -> str:
    """Write the same as Markdown."""
    parts = [f"# {report.title}\n", f"Made {_made(report)}, of the days in UTC.\n"]
    if report.alarm:
        parts.append(f"**{report.alarm}**\n")
    for section in report.sections:
        parts += [f"## {section.title}\n", f"{markdown_cell(section.lead)}\n", *map(table_text, section.tables)]
    return "\n".join(parts)


def _made(report: AuditReport) -> str:
    return f"{report.made:%Y-%m-%d %H:%M} UTC"
