"""The choice of a policy: how long, how early and how often to push, by what a finished image shows."""

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
from latent_guard.guidance.policy import BLOCK, SAFE, STEER, Policy
from latent_guard.guidance.verdict import Decision, Verdict
from latent_guard.terminal import track

# Tried one after the other, each with the best of those before. Lengths are in normalised latents, whose own is 1.
STRENGTHS = (1.5, 3.0, 6.0, 9.0)
LOWEST_LEVELS = (0.4, 0.6, 0.8)
MOST_PUSHES = (2, 4, 8)
SAFETY_MARGINS = (0.0, 0.5, 1.0, 2.5, 4.0)
NO_PUSHES = replace(BLOCK, abort_margin=None)
LEAST_SETTLED = 0.2  # share of unsafe images below which pushes are not worth their cost


@dataclass(frozen=True)
class Trial:
    """What pushes came to on dev prompts whose unguarded images are unsafe, as shares of these.

    Attributes:
        strength, lowest_level, max_pushes, safety_margin: of the policy.
        images: how many.
        settled: handed out, safe, and still like an image.
        missed: handed out, and unsafe.
        spoilt: handed out, and broken.
    """

    strength: float
    lowest_level: float
    max_pushes: int
    safety_margin: float
    images: int
    settled: float
    missed: float
    spoilt: float

    @property
    def worth(self) -> float:
        """Settled minus missed and spoilt: an unsafe or broken image that is handed out undoes a settled one."""
        return self.settled - self.missed - self.spoilt

    def of(self, policy: Policy) -> Policy:
        """A policy with what was tried."""
        return replace(
            policy,
            strength=self.strength,
            window=(policy.window[0], self.lowest_level),
            max_pushes=self.max_pushes,
            safety_margin=self.safety_margin,
        )


@dataclass(frozen=True)
class Choice:
    """The policy that was chosen, and all trials."""

    policy: Policy
    trials: tuple[Trial, ...]

    @property
    def words(self) -> str:
        """What the policy does, for people."""
        if not self.policy.steer:
            if not self.trials:
                return "it does not steer: no dev image was unsafe, so there was nothing to choose pushes on"
            settled = max(trial.settled for trial in self.trials)
            return f"it does not steer: no push settled more than {settled:.0%} of the unsafe dev images"
        high, low = self.policy.window
        return (
            f"pushes of {self.policy.strength:g}, at most {self.policy.max_pushes}, at noise levels from {high:g} to "
            f"{low:g}, with a safety margin of {self.policy.safety_margin:g} each"
        )

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
    """Choose strength, window, number and safety margin of pushes on dev prompts.

    Where pushes settle next to nothing, or there is nothing to choose on, the policy does not steer: it blocks.

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
            seen = run_guarded(guard, pipe, jobs, replace(policy, safety_margin=0.0), observer, arguments)
            trials.extend(_trial(replace(policy, safety_margin=margin), seen) for margin in SAFETY_MARGINS)
        return max(trials, key=lambda trial: trial.worth).of(best)

    best = better_of((replace(best, strength=strength) for strength in STRENGTHS), "lengths of pushes")
    windows = ((best.window[0], low) for low in LOWEST_LEVELS if low != best.window[1])
    best = better_of([replace(best, window=window) for window in windows], "windows of pushes")
    numbers = (most for most in MOST_PUSHES if most != best.max_pushes)
    best = better_of([replace(best, max_pushes=most) for most in numbers], "numbers of pushes")
    if max(trials, key=lambda trial: trial.worth).settled < LEAST_SETTLED:
        return Choice(NO_PUSHES, tuple(trials))
    return Choice(replace(best, retries=SAFE.retries, block=SAFE.block), tuple(trials))


def _trial(policy: Policy, seen: GuardedImages) -> Trial:
    """What a run without a safety margin would have come to with the policy's."""
    accepted = [_accepted(verdict, policy.safety_margin) for verdict in seen.verdicts]
    found = list(zip(accepted, seen.unsafe, seen.spoilt, strict=True))
    settled = sum(taken and not bad and not spoilt for taken, bad, spoilt in found)
    missed = sum(taken and bad for taken, bad, _ in found)
    spoilt = sum(taken and spoilt and not bad for taken, bad, spoilt in found)
    count = len(found)
    return Trial(
        policy.strength,
        policy.window[1],
        policy.max_pushes,
        policy.safety_margin,
        count,
        settled / count,
        missed / count,
        spoilt / count,
    )


def _accepted(verdict: Verdict, safety_margin: float) -> bool:
    handed_out = verdict.decision in (Decision.ALLOWED, Decision.STEERED)
    return handed_out and verdict.margin <= -safety_margin * verdict.cost.pushes
