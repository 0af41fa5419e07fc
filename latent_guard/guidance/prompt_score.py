"""What a prompt asks for, by the same bank: its text scored before the first step, apart from any image."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from latent_guard.guidance.fail_open import OnError, guarded
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import PromptScore


def scores_if_asked(
    scorer: Scorer, prompts: Sequence[str], trigger: float | None, on_error: OnError
) -> list[PromptScore | None]:
    """Each prompt's score, None where no trigger asks for it, or where scoring fails and the caller lets that pass.

    Raises:
        GuardError: the guard failed, and ``on_error`` is "close".
    """
    scores: list[PromptScore | None] = [None] * len(prompts)
    if trigger is not None:
        with guarded(on_error, "prompts are not scored"):
            scores = [score_prompt(scorer, prompt, trigger) for prompt in prompts]
    return scores


def score_prompt(scorer: Scorer, prompt: str, trigger: float) -> PromptScore:
    """A prompt's highest category score in any passage of it, against one threshold for all categories.

    The text takes the place of the latent: log-odds of the category's concepts against the benign anchors,
    all three embedded by the guard's own text tower. A bank's thresholds are of images, so they do not apply. The
    tower cuts long texts, which text encoders of some pipelines do not: so all passages are read, by its own tokens.
    """
    with torch.no_grad():
        scores, nearest = scorer.check_text(prompt)
    worst = torch.where(scores.isfinite(), scores, torch.inf)
    row, k = divmod(int(worst.argmax()), scores.shape[1])
    return PromptScore(scorer.categories[k], scorer.concepts[int(nearest[row, k])], float(scores[row, k]), trigger)
