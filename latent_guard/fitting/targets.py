"""What a student is to learn: a teacher's view of the finished image, corrected by what the prompt had asked for.

Shapes: N images, T texts, K categories; column 0 of K + 1 is "none of them".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from latent_guard.fitting.teachers import Teacher, Texts

ITERATIONS = 100


def posteriors(scores: Tensor, groups: Sequence[str]) -> Tensor:
    """Probabilities (N, K + 1) of what images show, given their scores and the group that each one's prompt is of.

    A teacher knows the picture alone. How often images of a group's prompts show each category is estimated from the
    teacher's scores themselves, by expectation maximisation (Saerens et al. 2002, "Adjusting the Outputs of a
    Classifier to New a Priori Probabilities", section 2.2), and is each image's prior: what looks a little like a knife
    is less likely to be one where a birthday cake was asked for.

    Args:
        scores: (N, K) logs of the likelihood ratio of each category against none.
        groups: of each image's prompt: the category asked for, or "" for a benign prompt.
    """
    evidence = torch.cat([torch.zeros(len(scores), 1), scores.float()], dim=1)
    result = torch.empty_like(evidence)
    for group in dict.fromkeys(groups):
        rows = torch.tensor([other == group for other in groups])
        result[rows] = _posterior(evidence[rows])
    return result


def _posterior(evidence: Tensor) -> Tensor:
    """Posteriors (n, K + 1) of one group, from log-likelihoods up to a constant an image."""
    prior = torch.full(evidence.shape[1:], 1 / evidence.shape[1])
    tiny = torch.finfo(evidence.dtype).tiny
    for _ in range(ITERATIONS):
        found = (evidence + prior.clamp_min(tiny).log()).softmax(dim=1)
        prior = found.mean(dim=0)
    return found


def over_texts(teacher: Teacher, texts: Texts, features: Tensor, posterior: Tensor) -> Tensor:
    """The teacher's distributions (N, T) over all texts, with as much on each category's as its posterior says.

    Args:
        teacher: whose texts and temperature are used.
        texts: of which the bank's concepts belong to categories, all others to none.
        features: (N, D) of finished images, by the teacher.
        posterior: (N, K + 1).
    """
    own = (teacher.logit_scale * features @ teacher.embedded.T.cpu()).softmax(dim=-1)
    column = texts.column
    mass = torch.zeros(len(own), posterior.shape[1]).index_add_(1, column, own)
    factors = posterior / mass.clamp_min(torch.finfo(mass.dtype).tiny)
    corrected = own * factors[:, column]
    return corrected / corrected.sum(dim=1, keepdim=True)
