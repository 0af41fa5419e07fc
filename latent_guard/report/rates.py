"""Shares with 95% intervals, and figures as ``summary.json`` holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from latent_guard.errors import InputError

RESAMPLES, SEED = 2000, 0
_Z = 1.959964  # of a two-sided 95% interval


@dataclass(frozen=True)
class Rate:
    """A figure, its 95% interval where there is one, and how many images it rests on; NaN: not measured."""

    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 0


def read_rate(stored: Any, where: str) -> Rate:
    """A figure of ``summary.json``: a number, or an object with ``value`` and perhaps ``low``, ``high``, ``count``.

    Raises:
        InputError: it is neither; ``where`` names the place.
    """
    try:
        if isinstance(stored, Mapping):
            low, high = (_number(stored.get(name)) for name in ("low", "high"))
            return Rate(_number(stored["value"]), low, high, int(stored.get("count") or 0))
        return Rate(_number(stored))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"summary.json: {where} is not a figure; resume the run to write it again") from error


def share(flags: ArrayLike, prompts: ArrayLike) -> Rate:
    """Share of true flags over images (N,), its interval bootstrapped over prompts (N,), as their images are alike.

    Where every image says the same, a bootstrap knows no doubt; the interval is Wilson's over the prompts then.
    """
    true = np.asarray(flags, dtype=bool)
    if not true.size:
        return Rate(math.nan)
    _, index = np.unique(np.asarray(prompts), return_inverse=True)
    hits, images = np.bincount(index, weights=true), np.bincount(index)
    if true.all() or not true.any():
        low, high = wilson(len(images) if true.all() else 0, len(images))
    else:
        drawn = np.random.default_rng(SEED).multinomial(len(images), np.full(len(images), 1 / len(images)), RESAMPLES)
        low, high = np.percentile((drawn @ hits) / (drawn @ images), [2.5, 97.5])
    return Rate(float(true.mean()), float(low), float(high), true.size)


def wilson(hits: float, count: float) -> tuple[float, float]:
    """The 95% interval of a share of independent samples (E. B. Wilson, 1927); ``InputError`` where it is none."""
    if hits < 0 or hits > count or count > 1e15:
        raise InputError(f"summary.json: {hits:g} of {count:g} is no share; resume the run to write it again")
    rate, square = hits / count, _Z**2
    middle = (rate + square / (2 * count)) / (1 + square / count)
    half = _Z / (1 + square / count) * math.sqrt(rate * (1 - rate) / count + square / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
