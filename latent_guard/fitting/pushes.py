"""The choice of a policy: how long, early and often to push, and how often to retry, by what finished images show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from latent_guard.building import build
from latent_guard.files.documents import read_json
from latent_guard.fitting.finished import Observer
from latent_guard.fitting.guarded import GuardedImages, run_guarded
from latent_guard.fitting.record import Job
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import SAFE, STEER, Policy
from latent_guard.terminal import track

# Tried one after the other, each with the best of those before. Lengths are in normalised latents, whose own is 1.
STRENGTHS = (1.5, 3.0, 6.0, 9.0)
LOWEST_LEVELS = (0.4, 0.6, 0.8)
MOST_PUSHES = (0, 1, 2, 4, 8)  # with none, an image that is over a threshold at any look counts as unsafe at once
SAFETY_MARGINS = (0.0, 0.5, 1.0, 2.5, 4.0)
RETRIES = (3, 6)  # beside none
RETRY_TRIGGERS = (-2.0, -4.0)  # beside 0
COST_OF_MISSED = 3.0  # in settled images: to hand out an unsafe one is worse than to refuse one that could be settled
NO_PUSHES = replace(SAFE, max_pushes=0, retries=0, safety_margin=0.0)


@dataclass(frozen=True)
class Trial:
    """What a policy came to on dev prompts whose unguarded images are unsafe, as shares of these.

    Attributes:
        strength, lowest_level, max_pushes, safety_margin, retries, retry_trigger: of the policy.
        images: how many.
        settled: handed out, safe, and still like an image.
        missed: handed out, and unsafe.
        spoilt: handed out, and broken.
    """

    strength: float
    lowest_level: float
    max_pushes: int
    safety_margin: float
    retries: int
    retry_trigger: float
    images: int
    settled: float
    missed: float
    spoilt: float

    @property
    def worth(self) -> float:
        """Settled, minus spoilt, minus ``COST_OF_MISSED`` times missed; an image that is refused counts for nothing."""
        return self.settled - self.spoilt - COST_OF_MISSED * self.missed

    def of(self, policy: Policy) -> Policy:
        """A policy with what was tried."""
        return replace(
            policy,
            strength=self.strength,
            window=(policy.window[0], self.lowest_level),
            max_pushes=self.max_pushes,
            safety_margin=self.safety_margin,
            retries=self.retries,
            retry_trigger=self.retry_trigger,
        )


@dataclass(frozen=True)
class Choice:
    """The policy that was chosen, and all trials."""

    policy: Policy
    trials: tuple[Trial, ...]

    @property
    def words(self) -> str:
        """What the policy does, for people."""
        policy = self.policy
        stricter = f", at thresholds lower by {-policy.retry_trigger:g}" if policy.retry_trigger else ""
        end = "blocked" if policy.block else "flagged"
        again = f"made again up to {policy.retries} times{stricter}, and then {end}" if policy.retries else end
        if policy.pushes:
            high, low = policy.window
            return (
                f"pushes of {policy.strength:g}, at most {policy.max_pushes}, at noise levels from {high:g} to "
                f"{low:g}, with a safety margin of {policy.safety_margin:g} each; what stays unsafe is {again}"
            )
        found = "what any look finds unsafe" if policy.steer else "what is unsafe at the end"
        reason = "which on dev images was worth more than any push" if self.trials else "as no dev image was unsafe"
        return f"no pushes, {reason}: {found} is {again}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def load(cls, path: Path) -> Choice:
        """Read what ``to_dict`` gave from a JSON file; ``InputError`` for anything else."""
        return build(cls, read_json(path, "the policy"), str(path))


def choose_policy(
    guard: LatentGuard, pipe: Any, jobs: Sequence[Job], observer: Observer, arguments: Mapping[str, Any]
) -> Choice:
    """Choose strength, window, number and safety margin of pushes on dev prompts, and how often to make an image again.

    A trial's ``worth`` decides. Where none with pushes is worth more than the best without, or there is nothing to
    choose on, the policy does not push: it refuses what any look finds unsafe.

    Args:
        guard: with its thresholds set.
        pipe: the pipeline.
        jobs: dev prompts whose unguarded images are unsafe.
        observer: says what finished images show.
        arguments: of the pipeline's call.
    """
    trials: list[Trial] = []
    best = replace(STEER, safety_margin=0.0)
    if not jobs:
        return Choice(NO_PUSHES, ())

    def better_of(policies: Iterable[Policy], words: str) -> Policy:
        """The best policy of all so far, after these were tried."""
        for policy in track(list(policies), words):
            seen = run_guarded(guard, pipe, jobs, policy, observer, arguments)
            # A margin is worked out from a run without one, but decides about what is made again.
            margins = (0.0,) if policy.retries else SAFETY_MARGINS
            trials.extend(_trial(policy, margin, seen) for margin in margins)
        return max(trials, key=lambda trial: trial.worth).of(best)

    best = better_of((replace(best, strength=strength) for strength in STRENGTHS), "lengths of pushes")
    windows = ((best.window[0], low) for low in LOWEST_LEVELS if low != best.window[1])
    best = better_of([_without_margin(best, window=window) for window in windows], "windows of pushes")
    numbers = [most for most in MOST_PUSHES if most not in (0, best.max_pushes)]
    none = _without_margin(best, max_pushes=0, window=(best.window[0], min(LOWEST_LEVELS)))  # it makes every look
    pushing = [_without_margin(best, max_pushes=most) for most in numbers]
    best = replace(better_of([*pushing, none], "numbers of pushes"), block=True)
    bases = [best] if best.max_pushes == 0 else [best, replace(none, block=True)]
    again = [replace(base, retries=retries) for base in bases for retries in RETRIES]
    best = better_of(again, "numbers of retries")
    if best.retries:
        best = better_of([replace(best, retry_trigger=by) for by in RETRY_TRIGGERS], "thresholds of retries")
    return Choice(best, tuple(trials))


def _without_margin(policy: Policy, **changes: Any) -> Policy:
    return replace(policy, safety_margin=0.0, **changes)


def _trial(policy: Policy, further: float, seen: GuardedImages) -> Trial:
    """What a run came to, or would have come to with so much ``further`` a safety margin for each push."""
    taken = [verdict.decision.safe and verdict.margin <= -further * verdict.cost.pushes for verdict in seen.verdicts]
    found = [(bad, spoilt) for ok, bad, spoilt in zip(taken, seen.unsafe, seen.spoilt, strict=True) if ok]
    count = len(taken)
    return Trial(
        policy.strength,
        policy.window[1],
        policy.max_pushes,
        policy.safety_margin + further,
        policy.retries,
        policy.retry_trigger,
        count,
        settled=sum(not bad and not spoilt for bad, spoilt in found) / count,
        missed=sum(bad for bad, _ in found) / count,
        spoilt=sum(spoilt and not bad for bad, spoilt in found) / count,
    )
