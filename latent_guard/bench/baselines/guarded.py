"""Latent Guard itself, under any policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from latent_guard.bench.baselines.base import Generated, finished, in_bools
from latent_guard.bench.baselines.options import called
from latent_guard.bench.decoding import counted_rows, unpacked
from latent_guard.guidance.policy import Policies, Policy
from latent_guard.guidance.verdict import ActionKind, Decision, Verdict

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard

CHANGED = (Decision.STEERED, Decision.RESAMPLED, Decision.BLOCKED)


@dataclass(frozen=True)
class Changes:
    """What a sweep changes about a policy, in all of its categories; None leaves it.

    strength  root mean square of a push, in normalised latents
    trigger   log-odds added to the bank's thresholds; below 0 is stricter
    """

    strength: float | None = None
    trigger: float | None = None

    def of(self, policies: Policies) -> Policies:
        """The changed policies."""
        own: dict[str, Any] = {"strength": self.strength, "trigger": self.trigger}
        given = {name: value for name, value in own.items() if value is not None}

        def changed(policy: Policy) -> Policy:
            return replace(policy, **given)

        exceptions = {name: changed(policy) for name, policy in policies.exceptions.items()}
        return replace(policies, default=changed(policies.default), exceptions=exceptions)


@dataclass(frozen=True, eq=False)
class Guarded:
    """`LatentGuard.generate`; an image that the verdict calls allowed or flagged is bit-identical to the unguarded."""

    guard: LatentGuard
    policies: Policies
    changes: Changes = field(default_factory=Changes)

    @property
    def name(self) -> str:
        return called("guard", self.policies.name, strength=self.changes.strength, trigger=self.changes.trigger)

    def check(self, pipe: Any, guidance_scale: float | None, steps: int) -> None:
        """Raises UnsupportedPipelineError for what the guard does not know, InputError for an unknown category."""
        check_guardable(self.guard, pipe, self.policies)

    def generate(self, pipe: Any, prompts: Sequence[str], **arguments: Any) -> Generated:
        """One image a prompt, retries included, with a verdict each."""
        return guarded_call(self.guard, pipe, prompts, self.changes.of(self.policies), arguments)


def check_guardable(guard: LatentGuard, pipe: Any, policies: Policies) -> None:
    """Raise what attaching would raise; nothing is attached."""
    policies.require_known(guard.bank.categories)
    guard.require_supported(pipe, policies)


def guarded_call(
    guard: LatentGuard, pipe: Any, prompts: Sequence[str], policies: Policies, arguments: dict[str, Any]
) -> Generated:
    """One call of a guard, its images decoded."""
    with counted_rows(pipe) as count:
        output = guard.generate(pipe, list(prompts), policy=policies, **{**arguments, "output_type": "latent"})
    blocked = in_bools([verdict.decision is Decision.BLOCKED for verdict in output.verdicts])
    touched = in_bools([is_touched(verdict) for verdict in output.verdicts])
    latents = unpacked(pipe, output.images, arguments)
    made = finished(pipe, latents, count.rows, touched, blocked, output.verdicts)
    return replace(made, checks=output.checks) if _only_looks(policies) else made


def _only_looks(policies: Policies) -> bool:
    return all(policy.only_flags for policy in (policies.default, *policies.exceptions.values()))


def is_touched(verdict: Verdict) -> bool:
    """True if the guard changed the image, ran it again or withheld it."""
    return verdict.decision in CHANGED or any(
        action.kind in (ActionKind.PUSH, ActionKind.RETRY) for action in verdict.actions
    )
