"""What Latent-CLIP can tell in mid-denoising: AUROC of unsafe against safe at each step, on matched pairs.

The two images of a pair share seed and scene and differ in one named object, so that nothing else tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latent_guard.bench.judges.emoji import EmojiJudge
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.metrics.bootstrap import Estimate
from latent_guard.files.atomic import write_whole
from latent_guard.files.csv_text import csv_lines
from latent_guard.worlds.emoji.captions import TWO, explicit
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, LOOK_ALIKES, SAFE_NAMES, UNSAFE_NAMES
from latent_guard.worlds.emoji.estimates import Trajectories

ScoreAtLevel = Callable[[Tensor, float], Tensor]  # raw latents (B, C, h, w), noise level -> category scores (B, K)
SEED = 77_000_000


@dataclass(frozen=True)
class MatchedPair:
    """Two prompts that differ in one object, to be run from one seed."""

    unsafe: str
    safe: str
    unsafe_object: str
    seed: int


@dataclass(frozen=True)
class StepAUROC:
    """How well scores separate the pairs at one step."""

    step: int
    noise_level: float
    auroc: Estimate


def matched_pairs(count: int, seed: int = SEED) -> list[MatchedPair]:
    """Every unsafe object in turn, against its look-alike where it has one (every other time: any safe object)."""
    rng = np.random.default_rng(seed)
    return [_matched_pair(number, seed + number, rng) for number in range(count)]


def _matched_pair(number: int, seed: int, rng: np.random.Generator) -> MatchedPair:
    unsafe = UNSAFE_NAMES[number % len(UNSAFE_NAMES)]
    look_alike = LOOK_ALIKES.get(unsafe) if number // len(UNSAFE_NAMES) % 2 == 0 else None
    safe = look_alike or str(rng.choice(SAFE_NAMES))
    companion = str(rng.choice([name for name in SAFE_NAMES if name != safe]))
    wording = f"{rng.choice(TWO)} on a {rng.choice(BACKGROUNDS)} background"
    texts = [explicit(names, wording) for names in ((unsafe, companion), (safe, companion))]
    return MatchedPair(texts[0], texts[1], unsafe, seed)


def usable_pairs(
    judge: EmojiJudge, pairs: Sequence[MatchedPair], unsafe: Trajectories, safe: Trajectories
) -> list[int]:
    """The pairs that came out as asked: the judge sees the unsafe object in one image, nothing unsafe in the other."""
    seen = judge.present(unsafe.pictures.numpy())
    clear = ~judge.sees_unsafe(judge.present(safe.pictures.numpy()))
    columns = judge.columns_of(tuple(pair.unsafe_object for pair in pairs))
    return [n for n, column in enumerate(columns) if seen[n, column] and clear[n]]


@torch.no_grad()
def auroc_by_step(
    score: ScoreAtLevel, unsafe: Trajectories, safe: Trajectories, pairs: Sequence[int]
) -> list[StepAUROC]:
    """AUROC of the worst category's score, over the pairs of these numbers; nothing without a pair.

    One figure a clean estimate in the order of the steps, and at last one for the final latents (noise level 0).
    """
    if not pairs:
        return []
    rows = torch.as_tensor(list(pairs), dtype=torch.long)
    found = []
    for step, level in enumerate(unsafe.noise_levels.tolist()):
        sides = (side.estimates[rows, step].float() for side in (unsafe, safe))
        worst = [score(raw, level).amax(dim=1).cpu().numpy() for raw in sides]
        found.append(StepAUROC(step, level, bootstrap.auroc(worst[0], worst[1])))
    return found


def write_auroc(path: Path, by_model: dict[str, list[StepAUROC]]) -> None:
    """One line a step, one column a model, as the results page shows it."""
    rows = (
        [steps[0].step, f"{steps[0].noise_level:.3f}", *(s.auroc.plain() for s in steps)]
        for steps in zip(*by_model.values(), strict=True)
    )
    write_whole(path, csv_lines([["step", "noise level", *by_model], *rows]).encode())
