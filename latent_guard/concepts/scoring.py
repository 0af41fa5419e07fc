"""Category scores of image features, and a bank's thresholds between the noise levels of its grid.

Shapes: B images, D embedding width, K categories, N concepts, M benign anchors, L noise levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

Method = Literal["log-sum-exp", "mean"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, eq=False)
class Reference:
    """The embeddings that features are scored against.

    Attributes:
        concepts: (N, D), L2-normalised.
        members: the rows of ``concepts`` that belong to each of the K categories.
        benign: (M, D) anchors, L2-normalised.
        logit_scale: the factor on cosines.
    """

    concepts: Tensor
    members: tuple[Tensor, ...]
    benign: Tensor
    logit_scale: float

    def scores(self, features: Tensor) -> Tensor:
        """Category scores (B, K) of L2-normalised features (B, D); differentiable."""
        return category_scores(features, self.concepts, self.members, self.benign, self.logit_scale)

    def max_scores(self) -> Tensor:
        """Upper bounds (K,) of the scores of any embedding of length one.

        The log-sum-exp over a category's n concepts is at most log n more than the highest, and that over the anchors
        at least the highest: so with the embedding f, concepts c, anchors b and the factor s on cosines a score is at
        most log n + s max_c min_b f (c - b), and f (c - b) is at most ||c - b|| (Cauchy-Schwarz).
        """
        nearest = torch.cdist(self.concepts, self.benign).amin(dim=1)
        bounds = [math.log(len(rows)) + self.logit_scale * float(nearest[rows].max()) for rows in self.members]
        return torch.tensor(bounds)

    def to(self, device: torch.device) -> Reference:
        """The same on another device."""
        members = tuple(rows.to(device) for rows in self.members)
        return Reference(self.concepts.to(device), members, self.benign.to(device), self.logit_scale)

    def by(self, method: Method) -> Reference:
        """The reference of a method: ``"mean"`` keeps one vector a category, and one for all that is benign.

        The mean text vector is CLIP's prompt ensembling (Radford et al. 2021, section 3.1.4) over a category.
        """
        if method == "log-sum-exp":
            return self
        means = torch.stack([self.concepts[rows].mean(0) for rows in self.members])
        alone = rows_of_each(torch.arange(len(means)))
        benign = normalize(self.benign.mean(0), dim=-1)[None]
        return replace(self, concepts=normalize(means, dim=-1), members=alone, benign=benign)


def rows_of_each(numbers: Tensor) -> tuple[Tensor, ...]:
    """The rows (N,) of each of the numbers from 0 to K - 1.

    They are found once, since a search on a GPU would make the host wait for it at every check.
    """
    return tuple((numbers == k).nonzero().flatten() for k in range(int(numbers.max()) + 1))


def category_scores(
    features: Tensor, concepts: Tensor, members: Sequence[Tensor], benign: Tensor, logit_scale: float
) -> Tensor:
    """Log-odds (B, K) of each category against the benign anchors.

    A score is the logsumexp over the category's concepts of logit_scale * cosine, minus the same over the anchors.

    Args:
        features: (B, D), L2-normalised.
        concepts: (N, D), L2-normalised.
        members: the rows of ``concepts`` that belong to each category.
        benign: (M, D), L2-normalised.
        logit_scale: the factor on cosines.
    """
    scaled = logit_scale * features
    return scores_of_logits(_products(scaled, concepts), _products(scaled, benign), members)


def _products(features: Tensor, texts: Tensor) -> Tensor:
    """Products (B, N) of features (B, D) with texts (N, D), row by row: none of them rounds as its neighbours make it.

    One matrix product would: libraries choose another kernel for other numbers of rows, and an image's score, in its
    last bits, would depend on what it is drawn together with.
    """
    return torch.bmm(features[:, None], texts.T.expand(len(features), -1, -1))[:, 0]


def scores_of_logits(concepts: Tensor, benign: Tensor, members: Sequence[Tensor]) -> Tensor:
    """The same (B, K) from logits: of the concepts (B, N), and of the benign anchors (B, M)."""
    against = torch.logsumexp(benign, dim=1)
    return torch.stack([torch.logsumexp(concepts.index_select(1, rows), dim=1) - against for rows in members], dim=1)


def nearest_concepts(features: Tensor, concepts: Tensor, members: Sequence[Tensor]) -> Tensor:
    """The nearest concept of each category, as rows of ``concepts``: (B, K) for features (B, D)."""
    cosines = _products(features, concepts)
    return torch.stack([rows[cosines.index_select(1, rows).argmax(dim=1)] for rows in members], dim=1)


def thresholds_at(noise_levels: Tensor, thresholds: Tensor, level: float) -> Tensor:
    """Thresholds (K,) at a noise level: linear between the grid's points, constant outside.

    Args:
        noise_levels: the grid (L,), ascending.
        thresholds: (K, L).
        level: the noise level asked for.
    """
    right = int(torch.searchsorted(noise_levels, level))
    if right == 0 or right == len(noise_levels):
        return thresholds[:, min(right, len(noise_levels) - 1)]
    low = float(noise_levels[right - 1])
    high = float(noise_levels[right])
    return torch.lerp(thresholds[:, right - 1], thresholds[:, right], (level - low) / (high - low))
