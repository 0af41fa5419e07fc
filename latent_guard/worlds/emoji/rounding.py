"""Weights with fewer significant bits: a wheel compresses the zeros away, and plain loaders see ordinary float16."""

from __future__ import annotations

import torch
from torch import Tensor

MANTISSA = 10  # stored bits of a float16's significand


def rounded(weights: Tensor, bits: int) -> Tensor:
    """Float16 weights whose significand has ``bits`` stored bits, 1 to 10, rounded to nearest, ties away from zero.

    The largest relative error is 2^-(bits + 1). Only normal numbers keep it: below 6e-5 the error is absolute.
    """
    dropped = MANTISSA - bits
    words = weights.to(torch.float16).contiguous().view(torch.int16)
    half = (1 << dropped) >> 1
    # A carry out of the significand goes into the exponent, as it should: the next power of two.
    return ((words + half) & ~((1 << dropped) - 1)).view(torch.float16)
