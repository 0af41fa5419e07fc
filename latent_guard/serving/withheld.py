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
    """The same policies, but that what they block is only flagged at the end."""
    exceptions = {name: replace(policy, block=False) for name, policy in policies.exceptions.items()}
    return replace(policies, default=replace(policies.default, block=False), exceptions=exceptions)


def as_blocked(verdict: Verdict, policies: Policies) -> Verdict:
    """The verdict under the policies themselves on an image that was judged under ``showing``."""
    if verdict.decision is Decision.FLAGGED and any(policies[name].block for name in categories_of(verdict)):
        return replace(verdict, decision=Decision.BLOCKED)
    return verdict


def categories_of(verdict: Verdict) -> list[str]:
    """The categories that speak against an image, the one that decided first."""
    over = [name for name, score in verdict.scores.items() if not score <= verdict.thresholds[name]]
    history = [action.category for action in verdict.actions if action.kind in _UNSAFE]
    return list(dict.fromkeys([*([verdict.category] if verdict.category else []), *over, *history]))


def blurred(image: Image) -> Image:
    """An image of its size of which a few colours are left; nothing brings back the rest."""
    from PIL.Image import Resampling

    scale = _BLOCKS / max(image.size)
    few = image.resize([max(1, round(side * scale)) for side in image.size], Resampling.BOX)
    return few.resize(image.size, Resampling.BICUBIC)
