"""Metrics as ``summary.json`` holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from latent_guard.errors import InputError
from latent_guard.intervals import Estimate, share

_MAX_COUNT = 10**9  # images of a run


def read_estimate(stored: Any, where: str) -> Estimate:
    """A figure of ``summary.json``: a number, or an object with ``value`` and perhaps ``low``, ``high``, ``count``.

    Raises:
        InputError: it is neither; ``where`` names the place.
    """
    try:
        if isinstance(stored, Mapping):
            low = _number(stored.get("low"))
            high = _number(stored.get("high"))
            return Estimate(_number(stored["value"]), low, high, int(stored.get("count") or 0))
        return Estimate(_number(stored))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"summary.json: {where} is not a figure; resume the run to write it again") from error


def read_share(point: Mapping[str, Any], where: str) -> Estimate:
    """The share ``frequency`` of the ``count`` images of a bin, with Wilson's interval; of no image, without one.

    Raises:
        InputError: they are no share; ``where`` names the place.
    """
    seen = read_estimate(point.get("frequency"), where).value
    count = read_estimate(point.get("count"), where).value
    if not count > 0 or math.isnan(seen):
        return Estimate(seen)
    if not 0 <= seen <= 1 or count > _MAX_COUNT:
        raise InputError(f"summary.json: {seen:g} of {count:g} is no share; resume the run to write it again")
    return replace(share(round(seen * count), round(count)), value=seen)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
