"""The best of several noises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.reno.best_of import best_of
from latent_guard.reno.rewards import FunctionReward, Reads
from tests.reno.pipelines import toward, turbo

QUIET: dict[str, Any] = {"output_type": "latent"}


def test_the_draw_with_the_highest_reward_is_kept() -> None:
    found = best_of(turbo(), ["a cat", "a dog"], [toward(0.5)], 6, seed=5, **QUIET)
    assert found.total.shape == (6, 2)
    assert torch.equal(found.best_iteration, found.total.argmax(dim=0))


def test_the_first_draw_is_the_pipeline_s_own_and_the_others_do_not_depend_on_the_batch() -> None:
    pipe = turbo()
    plain = pipe("a cat", num_inference_steps=1, generator=torch.Generator().manual_seed(5), **QUIET).images
    assert torch.equal(best_of(pipe, "a cat", [toward(0.5)], 1, seed=5, **QUIET).images, plain)
    both = best_of(pipe, ["a cat", "a dog"], [toward(0.5)], 4, seed=5, **QUIET)
    alone = best_of(pipe, "a dog", [toward(0.5)], 4, seed=6, **QUIET)
    assert torch.allclose(both.total[:, 1], alone.total[:, 0], atol=1e-4)
    assert len(set(alone.total[:, 0].tolist())) == 4


def test_no_draw_is_refused() -> None:
    with pytest.raises(InputError, match="draws"):
        best_of(turbo(), "a cat", [toward(0.5)], 0, seed=5)


def test_a_draw_that_is_no_number_costs_that_draw_alone() -> None:
    calls = iter(range(10))

    def breaks_once(raw: Tensor, prompts: Sequence[str]) -> Tensor:
        number = next(calls)
        return raw.mean(dim=(1, 2, 3)) * 0 + (float("nan") if number == 1 else number)

    reward = FunctionReward(breaks_once, "breaks once", Reads.LATENTS)
    found = best_of(turbo(), "a cat", [reward], 4, seed=5, **QUIET)
    assert int(found.best_iteration) == 3
    assert found.total[:, 0].isnan().tolist() == [False, True, False, False]
