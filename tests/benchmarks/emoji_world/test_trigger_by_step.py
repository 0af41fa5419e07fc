"""Precision and recall of the trigger, step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.emoji_world.rows.trigger_by_step import TRIGGER_TABLE, by_step, trigger_at_each_step, write_triggers
from tests.bench.stand_ins import small_workbench

UNSAFE = np.array([True, True, False, False])
FIRED = np.array([[0, 1, 1], [0, 0, 1], [1, 1, 0], [0, 0, 0]], dtype=bool)
LEVELS = [0.99, 0.5, 0.0]  # the policy `safe` does not look at the first


def test_precision_and_recall_are_taken_at_each_step_and_over_the_looks_so_far(tmp_path: Path) -> None:
    first, second, last = by_step(FIRED, UNSAFE, np.arange(4), LEVELS)
    assert [step.looked_at for step in (first, second, last)] == [False, True, True]
    assert (first.precision.value, first.recall.value) == (0.0, 0.0)
    assert first.recall_so_far.value == 0.0
    assert first.precision_so_far.count == 0
    assert (second.precision.value, second.recall.value) == (0.5, 0.5)
    assert (last.precision.value, last.recall.value) == (1.0, 1.0)
    assert (last.precision_so_far.value, last.recall_so_far.value) == (2 / 3, 1.0)
    write_triggers(tmp_path / "t.csv", [first, second, last])
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0].startswith("step,noise level,looked at by `safe`,precision,recall,")
    assert lines[1].startswith("0,0.990,no,")


def test_the_table_has_a_line_for_each_step_and_the_final_latent(tiny_bundle: Path, tmp_path: Path) -> None:
    bench = small_workbench(tiny_bundle, tmp_path, steps=3)
    (row,) = trigger_at_each_step(bench)
    assert row.samples in (0, 8)
    assert bench.recording("risky") is bench.recording("risky")
    assert len((tmp_path / TRIGGER_TABLE).read_text().splitlines()) == 1 + 3 + 1
