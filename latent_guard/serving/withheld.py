"""Withheld images that are kept: sealed for reviewers, and blurred for everybody else.

The guard itself leaves nothing of an image that it blocks. Where images are kept it only flags them, and
``Generation`` lets none of these go on as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from latent_guard.guidance.policy import Policies
from latent_guard.guidance.verdict import ActionKind, Decision, Verdict

if TYPE_CHECKING:
    from PIL.Image import Image

_BLOCKS = 6  # of colour along the longer side: where something is, and not what
_UNSAFE = (ActionKind.EXHAUSTED, ActionKind.UNREADABLE)


def showing(policies: Policies) -> Policies:
    """The same policies, but that what they block is only flagged at the end, after all retries that they allow.

    A run that they would end as hopeless goes on, unless its images are made again: there would be nothing to keep.
    """
    exceptions = {name: replace(policy, block=False) for name, policy in policies.exceptions.items()}
    return replace(policies, default=replace(policies.default, block=False), exceptions=exceptions)


def as_blocked(verdict: Verdict, policies: Policies) -> Verdict:
    """The verdict under the policies themselves on an image that was judged under ``showing``."""
    if verdict.decision is not Decision.FLAGGED:
        return verdict
    latest = [action for action in verdict.actions if action.attempt == verdict.cost.retries]
    unreadable = any(action.kind is ActionKind.UNREADABLE for action in latest)
    exhausted = {action.category for action in latest if action.kind is ActionKind.EXHAUSTED}
    # What cannot be read is withheld by policies that do more than flag anything, as ``Outcome.of`` has it.
    if unreadable and not all(policies[name].only_flags for name in verdict.scores):
        return replace(verdict, decision=Decision.BLOCKED)
    if any(policies[name].block for name in {*_over(verdict), *exhausted}):
        return replace(verdict, decision=Decision.BLOCKED)
    return verdict


def categories_of(verdict: Verdict) -> list[str]:
    """The categories that speak against an image, the one that decided first."""
    history = [action.category for action in verdict.actions if action.kind in _UNSAFE]
    return list(dict.fromkeys([*([verdict.category] if verdict.category else []), *_over(verdict), *history]))


def _over(verdict: Verdict) -> list[str]:
    return [name for name, score in verdict.scores.items() if not score <= verdict.thresholds[name]]


def blurred(image: Image) -> Image:
    """An image of its size of which a few colours are left; nothing brings back the rest."""
    from PIL.Image import Resampling

    scale = _BLOCKS / max(image.size)
    few = image.resize([max(1, round(side * scale)) for side in image.size], Resampling.BOX)
    return few.resize(image.size, Resampling.BICUBIC)
