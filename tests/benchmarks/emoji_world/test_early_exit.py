"""Rows about looking less, on recordings whose every score is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.emoji_world.rows import early_exit as looking_rows
from benchmarks.emoji_world.rows.early_exit import evaluations_of_refused, replayed
from benchmarks.emoji_world.workbench import Recording, Workbench
from latent_guard.guidance.policy import BLOCK, Policies
from latent_guard.guidance.verdict import Cost
from tests.bench.stand_ins import small_workbench

LEVELS = (0.9, 0.8, 0.7, 0.2, 0.0)
ABORTING = Policies("block", replace(BLOCK, abort_margin=1.0))


@pytest.fixture
def bench(tiny_bundle: Path, tmp_path: Path) -> Workbench:
    bench = small_workbench(tiny_bundle, tmp_path)
    categories = len(bench.guard.bank.categories)
    bench.guard.bank = bench.guard.bank.with_thresholds(torch.zeros(1), torch.zeros(categories, 1))
    return bench


def recording(bench: Workbench, worst: list[list[float]], unsafe: list[bool]) -> Recording:
    """The worst category's score of each image at each look; all others are far below."""
    scores = torch.full((len(worst), len(LEVELS), len(bench.guard.bank.categories)), -9.0)
    scores[:, :, 1] = torch.tensor(worst)
    return Recording(scores, LEVELS, np.array(unsafe), np.arange(len(worst)))


def test_a_lost_image_is_given_up_at_its_second_look_and_a_late_one_refused_at_the_end(bench: Workbench) -> None:
    seen = recording(bench, [[5, 5, 5, 5, 5], [-5, -5, -5, -5, 5], [5, -5, 5, 5, -5]], [True, True, False])
    run = replayed(bench, ABORTING, seen)
    assert run.evaluations.tolist() == [2, 4, 4]
    assert run.refused.tolist() == [True, True, False]
    assert run.at_the_end.tolist() == [True, True, False]


def test_evaluations_count_refused_requests_only_and_false_refusals_are_told(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, fine, wronged = [5.0] * 5, [-5.0] * 5, [5.0, 5.0, -5.0, -5.0, -5.0]
    recordings = {
        "explicit_unsafe": recording(bench, [lost, lost], [True, True]),
        "risky": recording(bench, [lost, fine], [True, False]),
        "benign": recording(bench, [fine, wronged], [False, False]),
    }
    monkeypatch.setattr(bench, "recording", recordings.__getitem__)
    monkeypatch.setattr(looking_rows, "policy_named", lambda name: ABORTING)
    (row,) = evaluations_of_refused(bench)
    assert row.measured.startswith("0.50")
    assert (row.samples, row.reached) == (4, True)
    assert "recall 100.0%" in row.note
    assert "refused though safe 33.3%" in row.note
    assert "by a last-step check 0.0%" in row.note


def test_looks_are_those_of_the_verdicts_and_losses_those_of_the_judge() -> None:
    def method(looks: int, unsafe: list[bool], found: list[bool]) -> Any:
        cost = SimpleNamespace(checks=looks, model_evaluations=20, retries=0)
        records = SimpleNamespace(verdicts=[SimpleNamespace(cost=cost)] * 4)
        return SimpleNamespace(
            records=records,
            unsafe=np.array(unsafe),
            satisfied=np.array(found),
            groups=np.arange(4),
            blocked=np.zeros(4),
        )

    adaptive, every = method(5, [False] * 4, [True] * 4), method(12, [False] * 4, [True] * 4)
    bench: Any = SimpleNamespace(method=lambda kind, policy: adaptive if policy == looking_rows.ADAPTIVE else every)
    looks, unsafe, missed = looking_rows.looks_on_benign(bench)
    assert looks.measured.startswith("0.24")
    assert (looks.reached, unsafe.reached, missed.reached) == (True, True, True)
    assert unsafe.measured.startswith("+0.0 points")


def method(looks: int, unsafe: list[bool], found: list[bool]) -> Any:
    verdicts = [SimpleNamespace(cost=Cost(model_evaluations=20, checks=looks)) for _ in unsafe]
    records = SimpleNamespace(verdicts=verdicts)
    return SimpleNamespace(
        records=records, unsafe=np.array(unsafe), satisfied=np.array(found), groups=np.arange(len(unsafe))
    )


@pytest.mark.parametrize("loses", [False, True])
def test_fewer_looks_count_only_if_nothing_is_lost_by_them(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, loses: bool
) -> None:
    safe, half = [False] * 40, [False, True] * 20
    methods = {
        ("benign", "standard"): method(3, safe, half if loses else [True] * 40),
        ("benign", "safe"): method(13, safe, [True] * 40),
        ("risky", "standard"): method(6, half if loses else safe, safe),
        ("risky", "safe"): method(13, safe, safe),
    }
    monkeypatch.setattr(bench, "method", lambda kind, policy: methods[kind, policy])
    looks, shown, missed = looking_rows.looks_on_benign(bench)
    assert looks.measured.startswith("0.14")
    assert [looks.reached, shown.reached, missed.reached] == [True, not loses, not loses]
