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
        unreadable = torch.tensor([image in run.unreadable for image in range(run.images)])
        for image, categories in run.insists.items():
            over[image, categories] = True
        # What cannot be read cannot be steered either, so it never counts as dealt with.
        withheld = (over & withholding).any(dim=1) | (unreadable & (not rules.only_flags)) | given_up
        deciding = acting(run, rules, attempt, withheld)
        return cls(run.verdicts(deciding, over.any(dim=1) | unreadable | given_up, withheld), withheld)


def acting(run: Run, rules: Rules, attempt: int | None, withheld: Tensor) -> list[int]:
    """The category that decides about each of a run's images, given which of them (B,) are withheld."""
    return rules.acting(run.last_look.excess, withheld, attempt, suspects(run, rules))


def suspects(run: Run, rules: Rules) -> dict[int, list[int]]:
    """The categories that an image's history speaks against, where that rather than its last look decides.

    Those that could not be read, or insisted; and the one that it was last pushed away from, if that is over its
    threshold still, and only doubt makes any category be over.
    """
    look = run.last_look
    doubts = rules.doubts(run.pushes if run.abandoned_at is None else torch.zeros_like(run.pushes))
    only_doubt, over = (look.excess <= doubts).all(dim=1), look.over()
    found = {image: [k] for image, k in run.unreadable.items()}
    for image, categories in run.insists.items():
        found.setdefault(image, []).extend(categories)
    for image, k in run.last_pushed.items():
        if over[image, k] and only_doubt[image]:
            found.setdefault(image, []).append(k)
    return found
