"""Verdicts on latents that are finished already: nothing is steered or masked, unsafe ones are flagged."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from latent_guard.guidance.fail_open import guarded
from latent_guard.guidance.frames import look
from latent_guard.guidance.outcome import Outcome
from latent_guard.guidance.policy import FLAG, Policies
from latent_guard.guidance.rules import Rules
from latent_guard.guidance.run import Check, Names, Run
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Verdict


@torch.no_grad()
def final_verdicts(scorer: Scorer, raw: Tensor, *, step: int = 0, first_image: int = 0) -> list[Verdict]:
    """A verdict, allowed or flagged, on each of some raw final latents (B, C, H, W).

    Args:
        scorer: what scores them.
        raw: the latents; a score that is not finite is flagged.
        step: the one after which they were seen.
        first_image: the number of the first of them.

    Raises:
        GuardError: they cannot be scored.
    """
    with guarded():
        return final_outcome(scorer, raw, Policies.of(FLAG), first_image, step=step).verdicts


def final_outcome(scorer: Scorer, raw: Tensor, policies: Policies, first_image: int, *, step: int = 0) -> Outcome:
    """What becomes of raw final latents (B, C, H, W), or of videos (B, C, T, H, W), under some policies.

    A video's scores are the highest of its frames, of each category. The verdicts say that nothing else was watched.
    """
    rules = Rules.of(policies, scorer.categories)
    names = Names(scorer.categories, scorer.concepts)
    everything = range(len(raw))
    seen = look(scorer, raw.float().to(scorer.device), 0.0, final=True)
    unpushed = torch.zeros(len(raw), dtype=torch.long)
    thresholds = rules.thresholds(scorer.thresholds(0.0), unpushed, final=True)
    run = Run(0, first_image, len(raw), step, 1, names)
    check = Check.at(0, step, 0.0, everything, seen, thresholds)
    run.record(check, everything, rules.abort_margins(None), policies.check_schedule)
    outcome = Outcome.of(run, rules, None)
    return replace(outcome, verdicts=[replace(verdict, gate="final") for verdict in outcome.verdicts])
