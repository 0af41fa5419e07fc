"""One step of a scheduler, read and written in raw latents, whatever the pipeline's family."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from latent_guard.pipelines.hook import around_step
from latent_guard.pipelines.latents import PipelineLatents
from latent_guard.pipelines.step import DenoisingStep, clean_estimates
from latent_guard.testing import tiny_pipeline
from latent_guard.testing.linear import SPACE
from latent_guard.testing.pipelines import BETAS
from tests.pipelines.tiny import BATCH, BY_NAME, FAMILIES, STEPS, Family, generators, raw

every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def solver() -> Any:
    return diffusers.DPMSolverMultistepScheduler(**BETAS)


def latents_of(pipe: Any) -> PipelineLatents:
    return PipelineLatents.of(pipe, SPACE, None)


@every_family
def test_the_estimates_end_in_the_raw_latents_that_the_call_hands_out(family: Family) -> None:
    pipe = family.pipeline()
    with clean_estimates(latents_of(pipe)) as estimates:
        given = family.call(pipe, output_type="latent")
    levels = [level for level, _ in estimates]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == 0
    assert all(clean.shape == (BATCH, 4, 8, 8) for _, clean in estimates)
    torch.testing.assert_close(estimates[-1][1], raw(pipe, given))


@every_family
def test_what_a_step_is_told_to_go_on_from_is_what_it_reads_then(family: Family) -> None:
    pipe, target = family.pipeline(), torch.ones(1, 4, 8, 8)
    read: list[tuple[Tensor, Tensor, bool]] = []

    def follow(scheduler: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
        step = DenoisingStep(latents, scheduler, call)
        before = step.clean()
        step.with_clean([1], target)
        read.append((before, step.clean(), step.is_last))
        return original(*call.args, **call.kwargs)

    latents = latents_of(pipe)
    with around_step(pipe.scheduler, follow), latents.layout.following():
        family.call(pipe, output_type="latent")
    for before, after, _ in read:
        torch.testing.assert_close(after[1], target[0], rtol=0, atol=1e-3)
        assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert [last for _, _, last in read] == [False] * (len(read) - 1) + [True]


def test_a_call_that_leaves_its_end_to_a_refiner_ends_in_its_last_estimate() -> None:
    family = BY_NAME["StableDiffusionXLPipeline"]
    pipe = family.pipeline()
    with clean_estimates(latents_of(pipe)) as estimates:
        family.call(pipe, output_type="latent", denoising_end=0.5)
    assert 1 < len(estimates) <= STEPS
    assert estimates[-1][0] == estimates[-2][0] > 0
    assert torch.equal(estimates[-1][1], estimates[-2][1])


@pytest.mark.parametrize("remembered", [False, True])
def test_a_solver_remembers_the_models_own_estimate_unless_told_otherwise(remembered: bool) -> None:
    pipe = tiny_pipeline(scheduler=solver())
    latents, target = latents_of(pipe), torch.ones(2, 4, 8, 8)

    def follow(scheduler: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
        step = DenoisingStep(latents, scheduler, call)
        own = step.clean()
        step.with_clean([0, 1], target, remembered=remembered)
        output = original(*call.args, **call.kwargs)
        step.restore_memory()
        kept = SPACE.to_raw(scheduler.model_outputs[-1])
        torch.testing.assert_close(kept, target if remembered else own, rtol=0, atol=1e-3)
        return output

    with around_step(pipe.scheduler, follow):
        pipe(["a cat", "a dog"], num_inference_steps=4, generator=generators(1, 2), output_type="latent")


def test_blank_images_are_neutral_in_the_output_and_in_the_solvers_memory() -> None:
    pipe = tiny_pipeline(scheduler=solver())
    latents = latents_of(pipe)

    def follow(scheduler: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
        step = DenoisingStep(latents, scheduler, call)
        output = step.blank(torch.tensor([True, False]), original(*call.args, **call.kwargs))
        for tensor in (output[0], scheduler.model_outputs[-1]):
            assert torch.equal(tensor[0], latents.neutral.expand(4, 8, 8))
            assert tensor[1].std() > 0
        return output

    with around_step(pipe.scheduler, follow):
        pipe(["a cat", "a dog"], num_inference_steps=4, generator=generators(1, 2), output_type="latent")
