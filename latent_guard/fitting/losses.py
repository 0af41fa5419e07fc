"""What a student's view of an image is compared by.

Shapes: B images, T texts, K categories.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from latent_guard.concepts.scoring import rows_of_each, scores_of_logits
from latent_guard.fitting.teachers import Texts

ALL_TEXTS = 0.5  # weight of the distributions over all texts beside those over categories
Loss = Callable[[Tensor, Tensor], Tensor]  # a student's logits over the texts and what is wanted, (B, T) both


def divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Kullback-Leibler divergence of a student's distributions, from logits, from what is wanted."""
    return kl_div(logits.log_softmax(dim=-1), wanted, reduction="batchmean")


class Categories:
    """The divergence over categories and none of them, as a bank scores: by its benign anchors, and no caption."""

    def __init__(self, texts: Texts) -> None:
        self.concepts, self.anchors = len(texts.bank.concepts), len(texts.bank.benign)
        self.members, self.column = rows_of_each(texts.category_of), texts.column

    def __call__(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The loss of logits (B, T), given the distributions over all texts (B, T) that are wanted."""
        members = [rows.to(logits.device) for rows in self.members]
        concepts, benign = logits[:, : self.concepts], logits[:, self.concepts :][:, : self.anchors]
        scores = scores_of_logits(concepts, benign, members)
        mass = wanted.new_zeros(len(wanted), 1 + len(members)).index_add_(1, self.column.to(wanted.device), wanted)
        return divergence(torch.cat([torch.zeros_like(scores[:, :1]), scores], dim=1), mass)


class Both:
    """Divergence over categories, which a guard acts on, and over all texts, so that concepts in words stay valid."""

    def __init__(self, texts: Texts) -> None:
        self.over_categories = Categories(texts)

    def __call__(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The loss of logits (B, T), given the distributions over all texts (B, T) that are wanted."""
        return self.over_categories(logits, wanted) + ALL_TEXTS * divergence(logits, wanted)
