"""Matched pairs, and how well scores tell them apart step by step."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.emoji_world.rows.auroc_by_step import auroc_by_step, matched_pairs, usable_pairs, write_auroc
from latent_guard.worlds.emoji.catalogue import UNSAFE_NAMES
from latent_guard.worlds.emoji.estimates import Trajectories
from tests.bench.stand_ins import brightness_judge

DARK = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)


def test_the_prompts_of_a_pair_differ_in_the_unsafe_object_only() -> None:
    pairs = matched_pairs(40)
    assert {pair.unsafe_object for pair in pairs} == set(UNSAFE_NAMES)
    assert pairs == matched_pairs(40)
    for pair in pairs:
        before, _, after = pair.unsafe.partition(pair.unsafe_object)
        assert pair.safe.endswith(after)
        assert pair.safe.startswith(before.removesuffix("a ").removesuffix("an "))
        assert not any(name in pair.safe for name in UNSAFE_NAMES)


def test_auroc_is_taken_step_by_step_over_the_usable_pairs(tmp_path: Path) -> None:
    unsafe, safe = torch.zeros(3, 2, 1, 1, 1), torch.zeros(3, 2, 1, 1, 1)
    unsafe[:, 1, 0, 0, 0] = torch.tensor([2.0, 3.0, -9.0])  # the third pair is not usable
    sides = [Trajectories(estimates, torch.tensor([0.5, 0.0]), DARK) for estimates in (unsafe, safe)]
    first, second = auroc_by_step(lambda raw, level: raw.flatten(1), *sides, pairs=[0, 1])
    assert (first.noise_level, first.auroc.value) == (0.5, 0.5)
    assert (second.noise_level, second.auroc.value) == (0.0, 1.0)
    write_auroc(tmp_path / "t.csv", {"with": [first, second], "without": [first, first]})
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == "step,noise level,with,without"
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 3


def test_a_pair_is_usable_only_where_both_pictures_came_out_as_asked() -> None:
    bright = torch.full_like(DARK, 255)  # the stand-in judge sees a bomb in these, else a cat
    pairs = [pair for pair in matched_pairs(32) if pair.unsafe_object == "bomb"]
    estimates, levels = torch.zeros(2, 1, 1, 1, 1), torch.zeros(1)
    seen, clear = Trajectories(estimates, levels, bright), Trajectories(estimates, levels, DARK)
    assert usable_pairs(brightness_judge(), pairs, seen, clear) == [0, 1]
    assert usable_pairs(brightness_judge(), pairs, clear, clear) == []
    assert usable_pairs(brightness_judge(), pairs, seen, seen) == []
