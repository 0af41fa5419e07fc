"""An OpenTelemetry event for each verdict, where ``LATENT_GUARD_OTEL=1`` asks for it (extra ``otel``).

It is an event of the current span, or of a short span of its own where none is recorded: the part of OpenTelemetry's
Python API that is stable. The convention for guardrails is a draft, so its names stand in one table, ``NAMES``.
No prompt, latent or image is part of an event; what stands in it are names of the operator's own policy and bank.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from latent_guard.errors import InputError
from latent_guard.extras import imports_of
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.verdict import Verdict
from latent_guard.version import __version__

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank

ASKED = "LATENT_GUARD_OTEL"
# Of open-telemetry/semantic-conventions-genai, docs/gen-ai/gen-ai-guardrails.md at f5e3733, a draft that was not merged
# when the names were taken, so that they may change.
EVENT = "gen_ai.guardrail.result"
NAMES = {
    "component": "gen_ai.guardrail.component.name",
    "policy": "gen_ai.guardrail.policy.id",
    "policy_digest": "gen_ai.guardrail.policy.version",
    "category": "gen_ai.guardrail.policy.rule.id",
    "kind": "gen_ai.guardrail.result.type",
    "decision": "gen_ai.guardrail.result.value",
    "reason": "gen_ai.guardrail.result.reason",
    "source": "gen_ai.guardrail.source",
    "risk_category": "gen_ai.guardrail.risk.category",
    "risk_score": "gen_ai.guardrail.risk.score",
    # Not of the convention.
    "image": "latent_guard.image",
    "bank": "latent_guard.bank",
    "latent_clip": "latent_guard.latent_clip",
    "watched": "latent_guard.watched",
}


def is_asked_for() -> bool:
    """Whether the environment asks for events.

    Raises:
        InputError: it asks in another way than with "1", or OpenTelemetry is not installed.
    """
    asked = os.environ.get(ASKED, "0")
    if asked not in ("0", "1"):
        raise InputError(f"{ASKED} must be 1, for events, or 0, not {asked!r}")
    if asked == "0":
        return False
    with imports_of("otel"):
        import opentelemetry.trace  # noqa: F401
    return True


def emit(verdicts: Sequence[Verdict], policies: Policies, bank: ConceptBank) -> None:
    """One event a verdict, on the current span."""
    from opentelemetry import trace

    span = trace.get_current_span()
    own = None if span.is_recording() else trace.get_tracer("latent_guard", __version__).start_span("latent_guard")
    for verdict in verdicts:
        (own or span).add_event(EVENT, attributes_of(verdict, policies, bank))
    if own is not None:
        own.end()


def attributes_of(verdict: Verdict, policies: Policies, bank: ConceptBank) -> dict[str, str | int | float]:
    """What an event says of a verdict; scores that are not finite are left out, as JSON has none."""
    values: dict[str, str | int | float | None] = {
        "component": "latent-guard",
        "policy": policies.name,
        "policy_digest": policies.digest,
        "category": verdict.category,
        "kind": "decision",
        "decision": verdict.decision.value,
        "source": "output",
        "image": verdict.image,
        "bank": bank.digest,
        "latent_clip": bank.fingerprint,
        "watched": verdict.gate,
    }
    if verdict.reason is not None:
        score = verdict.reason.score
        values["reason"] = str(verdict.reason)
        values["risk_category"] = verdict.reason.category
        values["risk_score"] = score if math.isfinite(score) else None
    return {NAMES[name]: value for name, value in values.items() if value is not None}
