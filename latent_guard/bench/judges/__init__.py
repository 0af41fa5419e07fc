"""Judges of finished images, one file each; ``open_judge`` opens one by name."""

from latent_guard.bench.judges.base import FunctionJudge, Judge, Judgement
from latent_guard.bench.judges.registry import open_judge

__all__ = ["FunctionJudge", "Judge", "Judgement", "open_judge"]
