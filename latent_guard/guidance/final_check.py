"""Verdicts on latents that are finished already: nothing is steered or withheld, unsafe ones are flagged."""

from __future__ import annotations

import torch
from torch import Tensor

from latent_guard.guidance.fail_open import failing_closed
from latent_guard.guidance.outcome import acting
from latent_guard.guidance.policy import FLAG, Policies
from latent_guard.guidance.rules import Rules
from latent_guard.guidance.run import Look, Names, Run
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Verdict


@torch.no_grad()
def observed(scorer: Scorer, raw: Tensor, *, step: int = 0, first_image: int = 0) -> list[Verdict]:
    """A verdict, allowed or flagged, on each of some raw final latents (B, C, H, W); images count from `first_image`.

    `step` is the one after which they were seen. Raises `GuardError` if they cannot be scored; a score that is not
    finite is flagged.
    """
    policies = Policies.of(FLAG)
    rules, names = Rules.of(policies, scorer.categories), Names(scorer.categories, scorer.concepts)
    with failing_closed():
        images, untouched = len(raw), torch.zeros(len(raw), dtype=torch.bool)
        seen = scorer.look(raw.float().to(scorer.device), 0.0)
        thresholds = rules.thresholds(scorer.thresholds(0.0), untouched, final=True)
        look = Look.at(0, step, 0.0, range(images), seen, thresholds)
        run = Run(0, first_image, images, step, 1, names)
        run.saw(look, range(images), rules.abort_margins(None), policies.looking)
        return run.verdicts(acting(run, rules, None, untouched), look.over().any(dim=1), untouched)
