"""The grading of fitted guards: its prompts, what it refuses, its table, and the losses that the study compares."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.emoji_world.fit_prompts import write_fit_prompts
from benchmarks.emoji_world.fitted_guard import grade, write_rows
from benchmarks.emoji_world.tuning import ranking
from latent_guard.bench.result_table import Row
from latent_guard.concepts.prompt_set import PromptSet, read_prompt_sets
from latent_guard.errors import InputError
from latent_guard.fitted_guards import HOME
from latent_guard.fitting.prompts import fit_prompts
from latent_guard.fitting.teachers import Texts
from latent_guard.package_data import concepts_folder
from latent_guard.worlds.emoji.prompts import prompt_lists

SETS = (
    PromptSet("k", "violence", "test", 1, "Apache-2.0", ("{}",), ("a dagger", "an axe"), ("a fork",)),
    PromptSet("s", "sexual", "test", 1, "Apache-2.0", ("{}",), ("a bikini",), ("a shirt",)),
)


def test_prompts_to_fit_on_are_lists_that_fit_takes_and_in_none_that_grades(tmp_path: Path) -> None:
    benign, unsafe = write_fit_prompts(tmp_path)
    prompts = fit_prompts(read_prompt_sets(concepts_folder("emoji_world")), benign, unsafe)
    assert len(prompts.benign) > 1000 < len(prompts.unsafe)
    graded = {row.prompt for rows in prompt_lists().values() for row in rows}
    assert not graded & {*prompts.benign, *(row.prompt for row in prompts.unsafe)}


def test_only_a_generator_that_a_guard_was_fitted_to_is_graded(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv(HOME, str(tmp_path))
    with pytest.raises(InputError, match="no guard was fitted to shipped; make one with `latent-guard fit shipped`"):
        grade("shipped", None, True, [], tmp_path / "out", tmp_path / "fitted.csv")
    with pytest.raises(InputError, match="the world has no generator 'sdxl'; give one of shipped, shipped-few-step"):
        grade("sdxl", None, True, [], tmp_path / "out", tmp_path / "fitted.csv")


def test_a_generators_rows_replace_its_own_and_no_others(tmp_path: Path) -> None:
    table = tmp_path / "fitted.csv"
    write_rows(table, "shipped", "itself", [Row("a", ">= 1", "2", 10, True), Row("b", ">= 1", "0", 10, False)])
    write_rows(table, "shipped-flow", "itself", [Row("a", ">= 1", "3", 10, True)])
    write_rows(table, "shipped", "itself", [Row("a", ">= 1", "4", 20, True)])
    found = pd.read_csv(table)[["generator", "what", "measured", "n"]].values.tolist()
    assert sorted(found) == [["shipped", "a", 4, 20], ["shipped", "b", 0, 10], ["shipped-flow", "a", 3, 10]]


def test_a_ranking_loss_wants_the_order_and_not_the_values() -> None:
    loss = ranking(Texts.of(SETS, ()))  # three concepts, two benign anchors
    wanted = torch.tensor([[0.9, 0.02, 0.02, 0.03, 0.03], [0.01, 0.01, 0.01, 0.9, 0.07]])
    right = torch.tensor([[0.0, 0, 9, 0, 0], [0.0, 0, 0, 9, 0]])
    assert loss(right, wanted) < 1e-3
    assert loss(right.flip(0), wanted) > 5
    assert loss(right, wanted[:1].expand(2, -1)) == 0  # nothing to tell apart
