"""What is done with verdicts just before their images are handed out: they are written down, and told to a tracer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from latent_guard.guidance import telemetry
from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.fail_open import OnError
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.verdict import Verdict

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank


def record(
    verdicts: Sequence[Verdict],
    prompts: Sequence[str] | None,
    policies: Policies,
    bank: ConceptBank,
    audit: AuditLog | None,
    on_error: OnError = "close",
    *,
    events: bool,
) -> None:
    """Record the verdicts: in the log, with the arguments of ``AuditLog.write``, and as ``events`` of OpenTelemetry.

    Raises:
        GuardError: they cannot be written down, so that no image may be handed out.
    """
    if audit is not None:
        audit.write(verdicts, prompts, policies, bank, on_error)
    if events:
        telemetry.emit(verdicts, policies, bank)
