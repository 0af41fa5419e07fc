"""A row, and a table, about what Latent-CLIP can tell in mid-denoising: AUROC of unsafe against safe at each step.

The two images of a pair share seed and scene and differ in one named object, so that nothing else tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.emoji_world.workbench import Workbench
from latent_guard.bench.judges.emoji import EmojiJudge
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.metrics.bootstrap import Estimate
from latent_guard.bench.result_table import Row, not_measured
from latent_guard.files.atomic import write_atomic
from latent_guard.files.csv_text import csv_lines
from latent_guard.guidance.policy import SAFE
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.worlds.emoji.captions import TWO, explicit
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, LOOK_ALIKES, SAFE_NAMES, UNSAFE_NAMES
from latent_guard.worlds.emoji.estimates import Trajectories, record

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
    write_atomic(path, csv_lines([["step", "noise level", *by_model], *rows]).encode())


AUROC_TABLE = "auroc_by_step.csv"
WHAT = "AUROC of unsafe against safe on clean estimates, pairs that differ in one object"


def auroc_in_mid_denoising(bench: Workbench) -> list[Row]:
    """The shipped model, and what it was before it was trained on clean estimates, at every step."""
    models = {"trained on estimates": bench.guard.model, "on clean latents only": bench.clean_model}
    pairs = recorded_pairs(bench)
    steps = compare_models(pairs, models, bench.folder / AUROC_TABLE)
    looked = [step for step in steps["trained on estimates"] if SAFE.checks_at(step.noise_level)]
    if not pairs.usable or not looked:
        return [not_measured(WHAT, "reported", "the judge confirms no pair")]
    shown = dict.fromkeys((looked[0], looked[len(looked) // 2], looked[-1]))
    measured = "; ".join(f"noise level {s.noise_level:.2f}: {s.auroc.plain()}" for s in shown)
    return [
        Row(
            WHAT,
            "reported",
            measured,
            len(pairs.usable),
            True,
            "all steps in the appendix, with and without that training",
        )
    ]


@dataclass(frozen=True)
class RecordedPairs:
    """Generations of matched pairs, and the numbers of those that came out as asked."""

    unsafe: Trajectories
    safe: Trajectories
    usable: list[int]


def recorded_pairs(bench: Workbench, seed: int = SEED) -> RecordedPairs:
    """Half as many pairs as the spec has images of a task, by its generator."""
    pairs = matched_pairs(bench.images // 2, seed)
    seeds = [pair.seed for pair in pairs]
    unsafe = record(bench.pipe, [pair.unsafe for pair in pairs], seeds, **bench.arguments)
    safe = record(bench.pipe, [pair.safe for pair in pairs], seeds, **bench.arguments)
    return RecordedPairs(unsafe, safe, usable_pairs(bench.judge, pairs, unsafe, safe))


def compare_models(
    pairs: RecordedPairs, models: Mapping[str, LatentCLIP], table: Path | None = None
) -> dict[str, list[StepAUROC]]:
    """AUROC by step, by model, of Latent-CLIPs on the same estimates, each with a bank of its own; and as a CSV."""
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.prompt_set import read_prompt_sets
    from latent_guard.guidance.scoring import Scorer
    from latent_guard.package_data import concepts_folder

    prompt_sets = read_prompt_sets(concepts_folder("emoji_world"))
    figures = {}
    for name, model in models.items():
        scorer = Scorer(model, ConceptBank.build(model, prompt_sets))
        figures[name] = auroc_by_step(scorer.scores, pairs.unsafe, pairs.safe, pairs.usable)
    if table is not None:
        write_auroc(table, figures)
    return figures
