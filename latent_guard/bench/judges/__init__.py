"""Judges of finished pictures, one file each; ``open_judge`` opens one by name."""

from latent_guard.bench.judges.base import ImageJudge, Judgement
from latent_guard.bench.judges.registry import open_judge

__all__ = ["ImageJudge", "Judgement", "open_judge"]
