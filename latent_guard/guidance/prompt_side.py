"""What a prompt asks for, by the same bank: its text scored before the first step, apart from any image."""

from __future__ import annotations

import torch

from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import PromptScore


def score_prompts(scorer: Scorer, prompts: list[str], trigger: float) -> list[PromptScore]:
    """Each prompt's highest category score, against one threshold for all categories.

    The text takes the place of the latent: log-odds of the category's concepts against the benign anchors,
    all three embedded by the guard's own text tower. A bank's thresholds are of images, so they do not apply.
    """
    with torch.no_grad():
        scores, nearest = (table.cpu() for table in scorer.read(prompts))
    worst = scores.nan_to_num(nan=torch.inf).argmax(dim=1).tolist()
    return [
        PromptScore(scorer.categories[k], scorer.concepts[int(nearest[row, k])], float(scores[row, k]), trigger)
        for row, k in enumerate(worst)
    ]
