"""What a run comes to: a verdict for each of its images, and which of them are withheld."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latent_guard.guidance.rules import Rules
from latent_guard.guidance.run import Run
from latent_guard.guidance.verdict import Verdict


@dataclass(frozen=True, eq=False)
class Conclusion:
    """Verdicts on B images, and which of them (B,) are withheld."""

    verdicts: list[Verdict]
    withheld: Tensor

    @classmethod
    def of(cls, run: Run, rules: Rules, attempt: int | None) -> Conclusion:
        """The conclusion of a run that is over; `attempt` counts from 0, None where there are no restarts."""
        given_up = run.abandoned_at is not None
        over, withholding = run.last_look.over(), torch.tensor(rules.withholding(attempt))
        for image, k in run.insists.items():
            over[image, k] = True
        # What cannot be read cannot be steered either, so it never counts as dealt with.
        unreadable = run.unreadable & (not rules.only_flags)
        withheld = (over & withholding).any(dim=1) | unreadable | given_up
        acting = rules.acting(run.last_look.excess, withheld, attempt, run.suspects())
        return cls(run.verdicts(acting, over.any(dim=1) | run.unreadable | given_up, withheld), withheld)
