"""Weights with fewer significant bits: a wheel compresses the zeros, and plain loaders read ordinary float16."""

from __future__ import annotations

import torch
from torch import Tensor

MANTISSA = 10  # stored bits of a float16's significand


def rounded(weights: Tensor, bits: int) -> Tensor:
    """Round float16 weights to ``bits`` stored bits of significand, 1 to 10, to nearest, ties away from zero.

    The largest relative error is 2^-(bits + 1). Only normal numbers keep it: below 6e-5 the error is absolute.
    """
    dropped = MANTISSA - bits
    integers = weights.to(torch.float16).contiguous().view(torch.int16)
    half = (1 << dropped) >> 1
    # A carry out of the significand goes into the exponent, as it should: the next power of two.
    return ((integers + half) & ~((1 << dropped) - 1)).view(torch.float16)
