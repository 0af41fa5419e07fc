"""Looks at the latents of a run, and what follows from them under the policies: pushes, and the outcome at its end.

Shapes: B images, C latent channels, H and W latent positions; of videos T latent frames stand before H.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from latent_guard.guidance.frames import look
from latent_guard.guidance.outcome import Outcome, deciding_categories
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.rules import Rules
from latent_guard.guidance.run import Check, Names, Run
from latent_guard.guidance.scoring import Scorer, over
from latent_guard.guidance.steering import push_away
from latent_guard.guidance.verdict import ActionKind
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.step import DenoisingStep


class Looking:
    """One scorer under some policies; ``checks`` has one entry a look.

    ``attempt`` counts those that ``generate`` makes, from 0; None where there are no retries.
    """

    def __init__(self, scorer: Scorer, policies: Policies) -> None:
        self.scorer = scorer
        self.checks: list[Check] = []
        self.attempt: int | None = None
        self.names = Names(scorer.categories, scorer.concepts)
        self._rules = Rules.of(policies, scorer.categories)
        self._schedule = policies.check_schedule

    @property
    def masks(self) -> bool:
        """True if any category's images may be masked in this attempt."""
        return any(self._rules.masking(self.attempt))

    def is_due(self, run: Run, step: DenoisingStep) -> bool:
        """True if a run's images, or some, are to be looked at before a step."""
        return run.aborted_at is None and self._rules.checks_at(step.noise_level) and bool(run.due(step.index))

    def at(self, run: Run, step: int, level: float, raw: Tensor, images: list[int], *, final: bool = False) -> Check:
        """Score some images of raw latents (B, C, H, W) at a noise level, and take note of what was seen."""
        some = raw if len(images) == run.images else raw[images]
        seen = look(self.scorer, some.to(self.scorer.device), level, final=final)
        limits = self.scorer.thresholds(level)
        thresholds = self._rules.thresholds(limits, run.pushes, final=final, attempt=self.attempt)
        check = Check.at(run.number, step, level, images, seen, thresholds)
        run.record(check, images, self._rules.abort_margins(self.attempt), self._schedule)
        self.checks.append(check)
        return check

    def push(self, run: Run, step: DenoisingStep, raw: Tensor, check: Check, space: LatentSpace) -> None:
        """Have a step go on from other clean estimates, for those images that the policies want to be pushed."""
        level, rules = step.noise_level, self._rules
        run.note_exhausted(rules.exhausted(check.margins, run.pushes, level))
        to_push = rules.to_push(check.margins, run.pushes, level)
        if not to_push or run.planned == 1:  # nothing would correct the only estimate that there is
            return
        run.note(ActionKind.PUSH, to_push)
        pushed = raw.clone()
        scores = partial(self.scorer.scores, noise_level=level)
        for policy, rows in rules.by_policy(to_push).items():
            away = [to_push[row] for row in rows]
            pushed[rows] = push_away(raw[rows], scores, space, away, policy)
        step.with_clean(list(to_push), pushed[list(to_push)])

    def note_abort(self, run: Run) -> None:
        """Take note of why all images of a run are hopeless."""
        everything = torch.ones(run.images, dtype=torch.bool)
        run.note(ActionKind.ABORT, dict(enumerate(deciding_categories(run, self._rules, self.attempt, everything))))

    def judged(self, run: Run, step: int, level: float, raw: Tensor) -> Outcome:
        """The outcome of a run whose final raw latents (B, C, H, W) these are."""
        self.at(run, step, level, raw, list(range(run.images)), final=True)
        return self.outcome(run)

    def outcome(self, run: Run) -> Outcome:
        """The outcome of a run, from its last look."""
        return Outcome.of(run, self._rules, self.attempt)

    def masked_alone(self, raw: Tensor) -> Tensor:
        """Which latents (B, C, H, W) that are of no run are to be masked (B,)."""
        unpushed = torch.zeros(len(raw), dtype=torch.bool)
        seen = look(self.scorer, raw.to(self.scorer.device), 0.0, final=True).scores
        limits = self._rules.thresholds(self.scorer.thresholds(0.0), unpushed, final=True, attempt=self.attempt)
        return (over(seen, limits) & torch.tensor(self._rules.masking(self.attempt))).any(dim=1)
