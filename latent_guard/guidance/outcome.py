"""What a call of the pipeline comes to: a verdict for each image, and which of them are masked.

Every verdict is put together here: of a call that is over, of an image that was retried, and of a guard that failed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latent_guard.errors import BlockedError, InputError
from latent_guard.guidance.rules import Rules, furthest_over
from latent_guard.guidance.run import Run
from latent_guard.guidance.verdict import Action, ActionKind, Cost, Decision, Reason, Verdict

_DECIDING = (ActionKind.UNREADABLE, ActionKind.EXHAUSTED)  # an image is unsafe, whatever its last check says


@dataclass(frozen=True, eq=False)
class Outcome:
    """Verdicts on B images, and which of them (B,) are masked: nobody gets to see their latents."""

    verdicts: list[Verdict]
    masked: Tensor

    @classmethod
    def of(cls, run: Run, rules: Rules, attempt: int | None) -> Outcome:
        """The outcome of a run that is over; ``attempt`` counts from 0, None where there are no retries."""
        aborted = run.aborted_at is not None
        over = run.last_check.over()
        masking = torch.tensor(rules.masking(attempt))
        unreadable = torch.tensor([image in run.unreadable for image in range(run.images)])
        for image, categories in run.exhausted.items():
            over[image, categories] = True
        # What cannot be read cannot be steered either, so it never counts as dealt with.
        masked = (over & masking).any(dim=1) | (unreadable & (not rules.only_flags)) | aborted
        unsafe = over.any(dim=1) | unreadable | aborted
        return cls(_verdicts(run, deciding_categories(run, rules, attempt, masked), unsafe, masked), masked)


def deciding_categories(run: Run, rules: Rules, attempt: int | None, masked: Tensor) -> list[int]:
    """The category (B,) that decides about each image: the first that its history speaks against, or the furthest over.

    Of a masked image (B,), only categories that mask can be the one.
    """
    masking = rules.masking(attempt)
    margins = run.last_check.margins
    everywhere = furthest_over(margins, [True] * len(masking))
    among = furthest_over(margins, masking) if any(masking) else everywhere
    history = _categories_of_history(run, rules)
    deciding = []
    for image in range(run.images):
        furthest = among[image] if masked[image] else everywhere[image]
        suspects = (k for k in history.get(image, ()) if masking[k] or not masked[image])
        deciding.append(next(suspects, furthest))
    return deciding


def _categories_of_history(run: Run, rules: Rules) -> dict[int, list[int]]:
    """The categories that an image's history speaks against, where that rather than its last check decides.

    Those that could not be read, or where its pushes are exhausted; and the one that it was last pushed away from, if
    that is over its threshold still, and only the safety margin for pushes makes any category be over.
    """
    check = run.last_check
    safety = rules.safety_margins(run.pushes if run.aborted_at is None else torch.zeros_like(run.pushes))
    only_safety = (check.margins <= safety).all(dim=1)
    over = check.over()
    history = {image: [k] for image, k in run.unreadable.items()}
    for image, categories in run.exhausted.items():
        history.setdefault(image, []).extend(categories)
    for image, k in run.last_pushed.items():
        if over[image, k] and only_safety[image]:
            history.setdefault(image, []).append(k)
    return history


def _verdicts(run: Run, deciding: Sequence[int], unsafe: Tensor, masked: Tensor) -> list[Verdict]:
    """One verdict an image, from the last check, the category that decides about it, and the flags (B,)."""
    seconds = (time.perf_counter() - run.started) / run.images
    names = run.names.categories
    check = run.last_check
    verdicts = []
    for image, actions in enumerate(run.actions):
        pushes = sum(action.kind is ActionKind.PUSH for action in actions)
        reason = _reason(run, image, deciding[image], bool(unsafe[image]))
        verdicts.append(
            Verdict(
                image=run.first_image + image,
                decision=_decision(bool(unsafe[image]), bool(masked[image]), pushes > 0),
                category=reason.category if unsafe[image] or actions else None,
                scores=dict(zip(names, check.scores[image].tolist(), strict=True)),
                thresholds=dict(zip(names, check.thresholds[image].tolist(), strict=True)),
                actions=tuple(actions),
                cost=Cost(run.steps, run.checks[image], pushes, 0, seconds),
                reason=reason,
            )
        )
    return verdicts


def _reason(run: Run, image: int, deciding: int, unsafe: bool) -> Reason:
    """The check before the last action of an image that ended safe; else what ``_DECIDING`` says, or the last check."""
    actions = run.actions[image]
    category = run.names.categories[deciding]
    if actions and not unsafe:
        return _reason_of(actions[-1])
    for action in actions:
        if action.kind in _DECIDING and action.category == category:
            return _reason_of(action)
    return run.names.reason(run.last_check, image, deciding)


def _reason_of(action: Action) -> Reason:
    numbers = action.score, action.threshold, action.step, action.noise_level, action.frame
    return Reason(action.category, action.concept, *numbers)


def _decision(unsafe: bool, masked: bool, pushed: bool) -> Decision:
    if masked:
        return Decision.BLOCKED
    if unsafe:
        return Decision.FLAGGED
    return Decision.STEERED if pushed else Decision.ALLOWED


def retried(latest: Verdict, earlier: Verdict) -> Verdict:
    """The verdict of a retry's image, with the history and cost of its ``earlier`` attempts."""
    attempt = earlier.cost.retries + 1
    actions = (*earlier.actions, _retry(earlier, attempt), *(replace(a, attempt=attempt) for a in latest.actions))
    safe = latest.decision.safe
    return replace(
        latest,
        reason=earlier.reason if latest.decision is Decision.ALLOWED else latest.reason,
        image=earlier.image,
        decision=Decision.RESAMPLED if safe else latest.decision,
        category=latest.category or actions[-1].category,
        actions=actions,
        cost=earlier.cost + latest.cost + Cost(retries=1),
    )


def _retry(earlier: Verdict, attempt: int) -> Action:
    why = earlier.reason
    if why is None:
        raise InputError("a verdict without a reason cannot have led to a retry")
    return Action(ActionKind.RETRY, attempt, 0, 0.0, why.category, why.score, why.threshold, why.concept, why.frame)


def worse(first: Verdict, second: Verdict) -> Verdict:
    """The verdict of two that says more against an image: by its decision, and then by its scores."""
    ranks = {Decision.FLAGGED: 1, Decision.BLOCKED: 2, Decision.UNCHECKED: 3}

    def rank(verdict: Verdict) -> tuple[int, float]:
        return ranks.get(verdict.decision, 0), verdict.margin if verdict.scores else 0.0

    return second if rank(second) > rank(first) else first


def of_sections(earlier: Verdict, latest: Verdict) -> Verdict:
    """The verdict on a video of which another section was made: the worse, with the history and cost of both."""
    actions, cost = (*earlier.actions, *latest.actions), earlier.cost + latest.cost
    return replace(worse(earlier, latest), actions=actions, cost=cost)


def unchecked(first_image: int, images: int) -> list[Verdict]:
    """The verdicts that say that images went on unguarded."""
    return [Verdict(first_image + image, Decision.UNCHECKED, None, {}, {}) for image in range(images)]


def blocked(verdicts: list[Verdict]) -> BlockedError:
    """The exception that ends a generation of which images were masked."""
    parts = [
        f"image {v.image} ({v.reason.category}: {v.reason.score:.2f} over {v.reason.threshold:.2f})"
        for v in verdicts
        if v.decision is Decision.BLOCKED and v.reason is not None
    ]
    return BlockedError(f"blocked {', '.join(parts)}; change the prompt or the seed")
