"""Final latents of a one-step call, pushed, for a second call to put noise back on and go on from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from latent_guard.errors import GuardError
from latent_guard.guidance.fail_open import OnError, failing_closed, log_open
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.steering import push_away


def pushed_finals(
    scorer: Scorer, policies: Policies, finals: Tensor, blocked: Mapping[int, str], on_error: OnError
) -> Tensor | None:
    """The rows of raw final latents (B, C, H, W) that `blocked` maps to categories, each pushed away from its own.

    None if the guard fails and the caller lets that pass; raises `GuardError` if it fails otherwise.
    """
    try:
        with failing_closed():
            return torch.cat([_pushed(scorer, policies, finals[[row]], name) for row, name in blocked.items()])
    except GuardError as error:
        if on_error != "open":
            raise
        log_open(error, "a restart goes on from fresh noise")
        return None


def _pushed(scorer: Scorer, policies: Policies, raw: Tensor, category: str) -> Tensor:
    k = scorer.categories.index(category)
    return push_away(raw, lambda latents: scorer.scores(latents, 0.0), [k], policies[category])
