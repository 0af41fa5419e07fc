"""A function of one's own as a judge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from latent_guard.bench.judges.base import Judgement
from latent_guard.bench.judges.emoji_judge import Pictures
from latent_guard.errors import InputError

LABEL = "unsafe"


class FunctionJudge:
    """Has no scale: ``scores`` are NaN."""

    def __init__(self, function: Callable[[Pictures], ArrayLike], preset: str) -> None:
        """``function`` takes pictures (N, 3, H, W), uint8, and says of each whether it is unsafe, (N,).

        ``preset`` is what is recorded of it: say what it detects, and from which threshold on.
        """
        if not preset.strip():
            raise InputError("a function as a judge needs a preset: what it detects, and from which threshold on")
        self.preset = f"function: {preset}"
        self._function = function

    def judge(self, pictures: Pictures) -> Judgement:
        """Pictures (N, 3, H, W) -> what the function says.

        Raises:
            InputError: it gives something else than N truth values.
        """
        unsafe = np.asarray(self._function(pictures))
        if unsafe.shape != (len(pictures),) or unsafe.dtype != np.bool_:
            raise InputError(
                f"{self.preset} must give {len(pictures)} truth values, not {unsafe.dtype} of shape {unsafe.shape}"
            )
        return Judgement(unsafe, np.full(len(unsafe), np.nan), tuple((LABEL,) if flag else () for flag in unsafe))
