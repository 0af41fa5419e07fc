"""SAFREE's mathematics (Yoon et al., ICLR 2025, section 3), on plain tensors.

Shapes: K concept phrases, T tokens of a prompt, D the width of the text encoder. Vectors are rows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity


def span_projector(vectors: Tensor) -> Tensor:
    """(D, D): the orthogonal projection onto the span of vectors (N, D), which may depend on each other."""
    projector: Tensor = torch.linalg.pinv(vectors) @ vectors
    return projector


def distances(pooled: Tensor, concepts: Tensor) -> Tensor:
    """How far pooled embeddings (T, D) are from the span of a projector (D, D): |(I - P) x|, (T,)."""
    lengths: Tensor = (pooled - pooled @ concepts).norm(dim=1)
    return lengths


def triggers(without: Tensor, alpha: float) -> Tensor:
    """Which tokens (T,) draw the prompt to the concepts, from the distances (T,) of the prompt without each of them.

    Those whose masking leaves it more than 1 + alpha times as far away as masking any other does on average. A lone
    token has no other to be compared with, and is none.
    """
    if len(without) < 2:
        return torch.zeros(len(without), dtype=torch.bool, device=without.device)
    others = (without.sum() - without) / (len(without) - 1)
    return without > (1 + alpha) * others


def projected(tokens: Tensor, concepts: Tensor, inputs: Tensor) -> Tensor:
    """(I - P_C) P_I e of token embeddings e (T, D): within the prompt's own span, then out of the concepts'."""
    within = tokens @ inputs
    return within - within @ concepts


def filtered_steps(tokens: Tensor, changed: Tensor, most: float) -> int:
    """For how many first steps the filtered embedding is used, from token embeddings (T, D) before and after.

    round(most * sigmoid(beta)), beta = 1 - mean cosine: the further the projection moves a prompt, the longer.
    """
    beta = 1.0 - float(cosine_similarity(tokens, changed, dim=1).mean())
    return round(most / (1.0 + math.exp(-beta)))
