"""One-step models: their only estimate is final, so it is scored, then masked, or pushed, renoised and denoised."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch

from latent_guard.guidance.policy import BLOCK, RESAMPLE, STEER, Policy
from latent_guard.guidance.verdict import Decision
from latent_guard.testing import LinearLatentCLIP, linear_guard
from tests.pipelines.tiny import BY_NAME, raw

ALWAYS = -1e3
ONE: dict[str, Any] = {"num_inference_steps": 1, "output_type": "latent", "seed": 1, "height": 32, "width": 32}
TWO = {"image": torch.rand(2, 3, 32, 32), "mask_image": torch.ones(2, 1, 32, 32)}
MENDS = Policy(window=(1.0, 0.0), retries=1, strength=3.0, safety_margin=0.0, augmentations=1)


def turbo() -> Any:
    """SDXL with a scheduler set like SDXL-Turbo's, and a denoiser that leaves the clean estimate where it was."""
    pipe = BY_NAME["StableDiffusionXLPipeline"].pipeline(blank=True)
    pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="trailing"
    )
    return pipe


def consistency() -> Any:
    return BY_NAME["LatentConsistencyModelPipeline"].pipeline(blank=True)


few_step_models = pytest.mark.parametrize("build", [turbo, consistency])


@few_step_models
def test_it_is_not_pushed_in_its_only_step(build: Any) -> None:
    pipe = build()
    call = {"num_inference_steps": 1, "output_type": "latent", "height": 32, "width": 32}
    plain = pipe("a cat", generator=torch.Generator().manual_seed(1), **call).images
    with linear_guard(ALWAYS, replace(STEER, window=(1.0, 0.0))).attach(pipe) as watch:
        guarded = pipe("a cat", generator=torch.Generator().manual_seed(1), **call).images
    assert torch.equal(guarded, plain)
    assert (watch.verdicts[0].decision, watch.verdicts[0].cost.pushes) == (Decision.FLAGGED, 0)


@few_step_models
def test_blocking_masks_it(build: Any) -> None:
    output = linear_guard(ALWAYS, BLOCK).generate(build(), "a cat", **ONE)
    assert output.verdicts[0].decision is Decision.BLOCKED
    assert (output.images.std(dim=(2, 3)) < 1e-6).all()


@few_step_models
def test_steering_puts_noise_back_on_the_pushed_image_and_denoises_that(build: Any) -> None:
    pipe, critic = build(), LinearLatentCLIP()
    score = score_of(linear_guard(1e3, MENDS, critic).generate(pipe, "a cat", **ONE).images, pipe, critic)
    guard = linear_guard(score - 1e-3, MENDS, critic)
    output = guard.generate(pipe, "a cat", **ONE)
    (verdict,) = output.verdicts
    assert (verdict.decision, verdict.cost.retries) == (Decision.RESAMPLED, 1)
    assert verdict.cost.model_evaluations == 1 + 2
    assert score_of(output.images, pipe, critic) < score - 1e-3
    assert torch.equal(guard.generate(pipe, "a cat", **ONE).images, output.images)


@few_step_models
def test_the_retry_goes_on_from_the_pushed_image_not_from_its_own_first_estimate(build: Any) -> None:
    """However far the push, so far the first estimate of the retry."""
    pipe, critic = build(), LinearLatentCLIP()
    final = {}
    for strength in (0.0, 50.0):
        policy = replace(MENDS, strength=strength, retries=1, max_pushes=0, block=False)
        final[strength] = linear_guard(ALWAYS, policy, critic).generate(pipe, "a cat", **ONE).images
    moved = raw(pipe, final[50.0]) - raw(pipe, final[0.0])
    assert torch.cosine_similarity(moved.flatten(), -critic.direction.detach().flatten(), dim=0) > 0.999


def score_of(latents: torch.Tensor, pipe: Any, critic: LinearLatentCLIP) -> float:
    return float(critic.score(raw(pipe, latents)).detach())


def test_without_steering_it_is_simply_drawn_again() -> None:
    pipe = turbo()
    output = linear_guard(ALWAYS, replace(RESAMPLE, retries=1)).generate(pipe, "a cat", **ONE)
    assert (output.verdicts[0].cost.retries, output.verdicts[0].cost.model_evaluations) == (1, 2)


def test_steps_that_the_caller_listed_are_kept() -> None:
    pipe = consistency()
    output = linear_guard(ALWAYS, MENDS).generate(pipe, "a cat", timesteps=[499], **ONE)
    assert (output.verdicts[0].cost.retries, output.verdicts[0].cost.model_evaluations) == (1, 2)
    assert pipe.scheduler.timesteps.tolist() == [499]


def test_an_inpainting_batch_of_one_step_is_renoised_image_by_image() -> None:
    family = BY_NAME["StableDiffusionXLInpaintPipeline"]
    arguments = {k: v for k, v in family.arguments.items() if k != "prompt"}
    output = linear_guard(ALWAYS, MENDS).generate(family.pipeline(), ["a cat", "a dog"], **{**ONE, **arguments, **TWO})
    assert [(v.cost.retries, v.cost.model_evaluations) for v in output.verdicts] == [(1, 3)] * 2
