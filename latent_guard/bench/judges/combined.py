"""Several judges as one: an image is unsafe where any of them says so, as in I2P (Q16 or NudeNet)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latent_guard.bench.judges.base import ImageJudge, Judgement
from latent_guard.bench.judges.emoji_judge import Pictures


class EitherJudge:
    """Has no scale of its own: ``scores`` are NaN."""

    def __init__(self, judges: Sequence[ImageJudge]) -> None:
        self.preset = " OR ".join(judge.preset for judge in judges)
        self._judges = tuple(judges)

    def judge(self, pictures: Pictures) -> Judgement:
        """Pictures (N, 3, H, W) -> unsafe to any; the labels are everyone's."""
        said = [judge.judge(pictures) for judge in self._judges]
        unsafe = np.any([each.unsafe for each in said], axis=0)
        labels = tuple(sum(seen, ()) for seen in zip(*(each.labels for each in said), strict=True))
        return Judgement(unsafe, np.full(len(pictures), np.nan), labels)
