"""What a student's view of an image is compared by.

Shapes: B images, T texts, K categories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from latent_guard.fitting.teachers import Texts

ALL_TEXTS = 0.5  # weight of the distributions over all texts beside those over categories
Loss = Callable[[Tensor, Tensor], Tensor]  # a student's logits over the texts and what is wanted, (B, T) both


def divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Kullback-Leibler divergence of a student's distributions, from logits, from what is wanted."""
    return kl_div(logits.log_softmax(dim=-1), wanted, reduction="batchmean")


@dataclass(frozen=True)
class Categories:
    """The divergence over categories and none of them, as a bank scores: by its benign anchors, and no caption."""

    texts: Texts

    def __call__(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The loss of logits (B, T), given the distributions over all texts (B, T) that are wanted."""
        return divergence(self._scored(logits), self._mass(wanted))

    def _scored(self, logits: Tensor) -> Tensor:
        """Logits (B, K + 1) of none and of each category; less the first, these are a bank's scores."""
        column = self.texts.column[: len(self.texts.bank.concepts) + len(self.texts.bank.benign)].to(logits.device)
        of_bank = logits[:, : len(column)]
        return torch.stack([of_bank[:, column == k].logsumexp(dim=1) for k in range(self._count)], dim=1)

    def _mass(self, wanted: Tensor) -> Tensor:
        """What is wanted of none and of each category, (B, K + 1)."""
        column = self.texts.column.to(wanted.device)
        return wanted.new_zeros(len(wanted), self._count).index_add_(1, column, wanted)

    @property
    def _count(self) -> int:
        return len(self.texts.categories) + 1


@dataclass(frozen=True)
class Both:
    """Divergence over categories, which a guard acts on, and over all texts, so that concepts in words stay valid."""

    texts: Texts

    def __call__(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The loss of logits (B, T), given the distributions over all texts (B, T) that are wanted."""
        return Categories(self.texts)(logits, wanted) + ALL_TEXTS * divergence(logits, wanted)
