"""SDEdit-style retries of one-step images: they go on from their own end, pushed, with noise put back on it.

Meng et al., "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations" (2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.guidance.fail_open import OnError, guarded
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.run import Attempt
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.steering import push_away
from latent_guard.guidance.verdict import Verdict
from latent_guard.guidance.watch import FirstStep
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.call import with_twice_the_steps
from latent_guard.pipelines.step import DenoisingStep


@dataclass(frozen=True)
class Renoise:
    """Steers images whose only step cannot be steered: a retry of two steps, the first of which only adds noise."""

    scorer: Scorer
    space: LatentSpace
    policies: Policies
    on_error: OnError

    def instead(
        self, arguments: dict[str, Any], latest: Attempt, blocked: Mapping[int, Verdict], one_run: int
    ) -> tuple[dict[str, Any], FirstStep] | None:
        """The call to make instead of a retry from fresh noise, and what its first step does.

        Args:
            arguments: those of the retry from fresh noise.
            latest: the attempt whose images are retried.
            blocked: places in ``latest``, in the order of the retry's images, and their verdicts.
            one_run: steps of an unguarded image.

        Returns:
            None unless the attempt had a single step, all deciding categories steer, and the budgets allow it.

        Raises:
            GuardError: the guard failed, and ``on_error`` is "close".
        """
        longer = with_twice_the_steps(arguments)
        times = 3 if "strength" in arguments else 2  # img2img can have three left of twice the steps that left one
        if latest.finals is None or longer is None:
            return None
        if not all(self.policies.allows_retry(verdict, one_run, times) for verdict in blocked.values()):
            return None
        categories = {place: verdict.category or "" for place, verdict in blocked.items()}
        if not all(self.policies[category].steer for category in categories.values()):
            return None
        pushed = self._pushed(latest.finals, categories)
        if pushed is None:
            return None

        def first_step(step: DenoisingStep) -> None:
            step.with_clean(range(len(pushed)), pushed, remembered=True)

        return longer, first_step

    def _pushed(self, finals: Tensor, categories: Mapping[int, str]) -> Tensor | None:
        """Rows of raw final latents (B, C, H, W), each pushed away from its own category; None if the guard failed."""
        pushed = None
        with guarded(self.on_error, "a retry starts from fresh noise"):
            pushed = torch.cat([self._pushed_row(finals[[place]], name) for place, name in categories.items()])
        return pushed

    def _pushed_row(self, raw: Tensor, category: str) -> Tensor:
        k = self.scorer.categories.index(category)
        policy = self.policies[category]
        return push_away(raw, lambda latents: self.scorer.scores(latents, 0.0), self.space, [k], policy)
