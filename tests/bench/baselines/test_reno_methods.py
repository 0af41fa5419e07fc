"""ReNO and the best of several noises as methods of a comparison."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import LCMScheduler

from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.bench.baselines.registry import baseline_named
from latent_guard.bench.baselines.unguarded import Unguarded
from latent_guard.errors import InputError, UnsupportedPipelineError
from tests.bench.baselines.calls import made_by, same_images

ONE_STEP = {"num_inference_steps": 1, "guidance_scale": 1.0}


@pytest.fixture(scope="module")
def few_step_pipe(tiny_pipe: Any) -> Any:
    from diffusers import StableDiffusionPipeline

    scheduler = LCMScheduler(clip_sample=False)
    pipe = StableDiffusionPipeline(**{**tiny_pipe.components, "scheduler": scheduler}, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("reward", ["latent-clip", "pixel-clip", "safety", "latent-clip+safety"])
def test_images_are_those_of_the_pipeline_where_no_noise_was_better(
    few_step_pipe: Any, tiny_context: BaselineContext, reward: str
) -> None:
    plain = made_by(Unguarded(), few_step_pipe, **ONE_STEP)
    method = baseline_named("reno", {"reward": reward, "iterations": 4}, tiny_context)
    method.check(few_step_pipe, 1.0, 1)
    made = made_by(method, few_step_pipe, **ONE_STEP)
    assert (same_images(made, plain) != made.touched).all()
    assert made.evaluations == 5  # four iterations and the final call
    assert not made.blocked.any()


def test_one_iteration_and_one_draw_are_the_pipeline_alone(few_step_pipe: Any, tiny_context: BaselineContext) -> None:
    plain = made_by(Unguarded(), few_step_pipe, **ONE_STEP)
    for name, setting in (("reno", "iterations"), ("best-of", "draws")):
        made = made_by(baseline_named(name, {setting: 1}, tiny_context), few_step_pipe, **ONE_STEP)
        assert same_images(made, plain).all()
        assert not made.touched.any()


def test_the_best_of_several_draws_is_counted_and_named(few_step_pipe: Any, tiny_context: BaselineContext) -> None:
    method = baseline_named("best-of", {"draws": 8}, tiny_context)
    assert method.name == "best-of(latent-clip, draws=8)"
    made = made_by(method, few_step_pipe, **ONE_STEP)
    assert made.evaluations == 9
    assert made.touched.any()


def test_names_say_what_is_not_the_authors_setting(tiny_context: BaselineContext) -> None:
    assert baseline_named("reno", {}, tiny_context).name == "reno(latent-clip)"
    named = baseline_named("reno", {"reward": "safety", "iterations": 10, "target": -0.1}, tiny_context).name
    assert named == "reno(safety, iterations=10, target=-0.1)"


def test_a_generator_that_all_images_share_starts_each_iteration_where_the_call_did(
    few_step_pipe: Any, tiny_context: BaselineContext
) -> None:
    shared = {**ONE_STEP, "num_inference_steps": 2}
    plain = made_by(Unguarded(), few_step_pipe, **shared, generator=torch.Generator().manual_seed(3))
    method = baseline_named("reno", {"iterations": 1}, tiny_context)
    made = made_by(method, few_step_pipe, **shared, generator=torch.Generator().manual_seed(3))
    assert same_images(made, plain).all()


def test_what_cannot_be_had_is_refused(few_step_pipe: Any, tiny_pipe: Any, tiny_context: BaselineContext) -> None:
    for options, says in (
        ({"reward": "beauty"}, "unknown reward 'beauty'"),
        ({"iterations": 0}, "iterations"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"draws": 3}, "unknown setting 'draws'"),
    ):
        with pytest.raises(InputError, match=says):
            baseline_named("reno", options, tiny_context)
    with pytest.raises(UnsupportedPipelineError, match="no few-step scheduler"):
        baseline_named("reno", {}, tiny_context).check(tiny_pipe, 1.0, 1)
    with pytest.raises(InputError, match="20 steps are not few"):
        baseline_named("reno", {}, tiny_context).check(few_step_pipe, 1.0, 20)
    with pytest.raises(UnsupportedPipelineError, match="no few-step scheduler"):
        baseline_named("best-of", {}, tiny_context).check(tiny_pipe, 1.0, 1)
