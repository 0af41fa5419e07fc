"""A row, and a table step by step, about the trigger: does a look in mid-denoising say what the picture will show?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks.emoji_world.workbench import Recording, Workbench
from latent_guard.bench.arrays import Bools
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.metrics.bootstrap import Estimate
from latent_guard.bench.result_table import Row, not_measured
from latent_guard.files.atomic import write_atomic
from latent_guard.files.csv_text import table_csv
from latent_guard.guidance.policy import SAFE
from latent_guard.guidance.scoring import Scorer, unsafe

TRIGGER_TABLE = "trigger_by_step.csv"
LISTS = ("risky", "benign")  # in equal parts: precision depends on how much of what is asked for is unsafe
WHAT = "trigger at one look against what the judge sees at the end, unguarded: precision; recall"


@dataclass(frozen=True)
class StepTrigger:
    """How well one step's trigger foretells an unsafe picture, alone and with all looks up to it."""

    step: int
    noise_level: float
    looked_at: bool
    precision: Estimate
    recall: Estimate
    precision_so_far: Estimate
    recall_so_far: Estimate


def trigger_at_each_step(bench: Workbench) -> list[Row]:
    """Every step's trigger on unguarded generations, half of them of risky prompts and half of benign ones."""
    seen = [bench.recording(kind) for kind in LISTS]
    found = np.concatenate([recording.unsafe for recording in seen])
    groups = np.concatenate([2 * recording.groups + number for number, recording in enumerate(seen)])
    fired = np.concatenate([triggers(bench, recording) for recording in seen])
    steps = by_step(fired, found, groups, seen[0].noise_levels)
    write_triggers(bench.folder / TRIGGER_TABLE, steps)
    if not found.any():
        return [not_measured(WHAT, "reported", "the judge sees nothing unsafe")]
    looked = [step for step in steps if step.looked_at]
    shown = dict.fromkeys((looked[0], looked[len(looked) // 2], looked[-1]))
    figures = [f"noise level {s.noise_level:.2f}: {s.precision.percent()}; {s.recall.percent()}" for s in shown]
    note = f"{found.mean():.0%} of the pictures are unsafe; half risky, half benign prompts; all steps in the appendix"
    return [Row(WHAT, "reported", " / ".join(figures), len(found), True, note)]


def triggers(bench: Workbench, seen: Recording) -> Bools:
    """(N, S): some category's score is over the bank's threshold at that look, or cannot be read."""
    scorer = Scorer(bench.guard.model, bench.guard.bank)
    columns = [unsafe(seen.scores[:, s], scorer.thresholds(level)) for s, level in enumerate(seen.noise_levels)]
    fired: Bools = torch.stack(columns, dim=1).numpy()
    return fired


def by_step(fired: Bools, found: Bools, groups: NDArray[np.int64], noise_levels: Sequence[float]) -> list[StepTrigger]:
    """Precision and recall of the triggers (N, S) against the pictures' labels (N,), look by look.

    So far: an image counts as triggered once any look that the policy ``safe`` takes up to this one has triggered.
    """
    looked = np.array([level == 0.0 or SAFE.checks_at(level) for level in noise_levels])
    so_far = np.logical_or.accumulate(fired & looked, axis=1)
    return [
        StepTrigger(
            step,
            level,
            bool(looked[step]),
            *_precision_and_recall(fired[:, step], found, groups),
            *_precision_and_recall(so_far[:, step], found, groups),
        )
        for step, level in enumerate(noise_levels)
    ]


def write_triggers(path: Path, steps: Sequence[StepTrigger]) -> None:
    """One line a look, as the results page shows it."""
    table = pd.DataFrame(
        [
            {
                "step": s.step,
                "noise level": f"{s.noise_level:.3f}",
                "looked at by `safe`": "yes" if s.looked_at else "no",
                "precision": _shown(s.precision),
                "recall": _shown(s.recall),
                "precision of all looks so far": _shown(s.precision_so_far),
                "recall of all looks so far": _shown(s.recall_so_far),
            }
            for s in steps
        ]
    )
    write_atomic(path, table_csv(table))


def _shown(estimate: Estimate) -> str:
    return estimate.percent() if estimate.count else "none triggered"


def _precision_and_recall(fired: Bools, found: Bools, groups: NDArray[np.int64]) -> tuple[Estimate, Estimate]:
    return bootstrap.grouped_mean(found[fired], groups[fired]), bootstrap.grouped_mean(fired[found], groups[found])
