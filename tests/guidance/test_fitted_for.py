"""What a guard was fitted for, and what becomes of a generation by anything else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from latent_guard import LatentGuard, LatentGuardCallback, Policies
from latent_guard.errors import FittedForOtherError, InputError
from latent_guard.guidance.fitted_for import FittedFor, mismatches
from latent_guard.guidance.policy import FLAG
from latent_guard.testing import linear_guard, tiny_pipeline
from latent_guard.testing.pipelines import DDIM, WIDTH
from tests.pipelines.tiny import embeds

ARGUMENTS = {"num_inference_steps": 2, "guidance_scale": 5.0, "num_images_per_prompt": 3, "output_type": "latent"}
CALL = {"num_inference_steps": 2, "guidance_scale": 5.0}
REFUSE = Policies("mine", FLAG, on_mismatch="refuse")


def fitted(pipe: Any, **arguments: Any) -> FittedFor:
    return FittedFor.of(pipe, "owner/name", {**ARGUMENTS, **arguments}, (0.9, 0.4))


def guard_for(pipe: Any, policies: Policies) -> LatentGuard:
    linear = linear_guard(1000.0)
    return LatentGuard(linear.model, linear.bank, policies, fitted_for=fitted(pipe))


@contextmanager
def nothing_said() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def test_it_records_how_a_pipeline_is_called_and_no_prompt() -> None:
    found = fitted(tiny_pipeline(), prompt="a cat", eta=0.5, latents=embeds(4, 8, 8))
    assert (found.pipeline, found.pipeline_class) == ("owner/name", "StableDiffusionPipeline")
    assert (found.scheduler, found.steps, found.window) == ("DDIMScheduler", 2, (0.9, 0.4))
    assert found.arguments == {"guidance_scale": 5.0, "eta": 0.5}
    assert found.scheduler_config["beta_schedule"] == "scaled_linear"
    assert FittedFor.of(tiny_pipeline(), "a", {}, (0.9, 0.4)).arguments == {"guidance_scale": 7.5}  # diffusers' default
    assert FittedFor.of(tiny_pipeline(), "a", {}, (0.9, 0.4)).steps == 50


def test_it_is_read_as_it_was_written_and_strictly(tmp_path: Path) -> None:
    found = fitted(tiny_pipeline())
    found.save(tmp_path)
    assert FittedFor.load(tmp_path) == found
    for change in ({"steps": 0}, {"steps": "2"}, {"window": [2, 0]}, {"arguments": {"a": {}}}, {"hope": 1}):
        with pytest.raises(InputError, match=r"fitted"):
            FittedFor.from_dict({**found.to_dict(), **change})


OTHER_CALLS = [
    ({"num_inference_steps": 3}, "num_inference_steps is 3, not 2"),
    ({"guidance_scale": 2}, "guidance_scale is 2, not 5.0"),
    ({"timesteps": [900, 600, 300]}, "num_inference_steps is 3, not 2"),
]


@pytest.mark.parametrize(("change", "line"), OTHER_CALLS)
def test_another_call_is_a_line_each(change: dict[str, Any], line: str) -> None:
    pipe = tiny_pipeline()
    assert mismatches(fitted(pipe), pipe, {**CALL, "num_images_per_prompt": 1}) == []
    assert mismatches(fitted(pipe), pipe, {**CALL, **change}) == [line]


def test_another_pipeline_or_scheduler_is_a_line_each(tmp_path: Path) -> None:
    pipe = tiny_pipeline()
    found = fitted(pipe)
    other = tiny_pipeline(scheduler=diffusers.EulerDiscreteScheduler())
    assert mismatches(found, other, CALL) == ["the scheduler is EulerDiscreteScheduler, not DDIMScheduler"]
    other = tiny_pipeline(scheduler=diffusers.DDIMScheduler(**DDIM, timestep_spacing="trailing"))
    assert mismatches(found, other, CALL) == ["the scheduler's timestep_spacing is trailing, not leading"]
    other = tiny_pipeline("StableDiffusionImg2ImgPipeline")
    assert mismatches(found, other, CALL) == [
        "the pipeline's class is StableDiffusionImg2ImgPipeline, not StableDiffusionPipeline"
    ]


def test_other_weights_of_one_architecture_are_another_pipeline(tmp_path: Path) -> None:
    pipe = tiny_pipeline()
    pipe.save_pretrained(tmp_path / "base")
    pipe.unet.conv_in.weight.data.mul_(1.5)
    pipe.save_pretrained(tmp_path / "tuned")
    base, tuned = (type(pipe).from_pretrained(tmp_path / name) for name in ("base", "tuned"))
    assert mismatches(fitted(base), base, CALL) == []
    assert mismatches(fitted(base), tuned, CALL) == [f"the pipeline is another ({tmp_path / 'tuned'})"]
    assert mismatches(fitted(pipe), tuned, CALL) == []  # of one made in memory nothing is known
    named = replace(fitted(base), identity="owner--name")
    assert mismatches(named, tuned, CALL) == []  # a folder may hold what the hub has under that name


def test_a_guard_at_home_says_nothing() -> None:
    pipe = tiny_pipeline()
    with nothing_said():
        for policies in (Policies.of(FLAG), REFUSE):
            guard = guard_for(pipe, policies)
            assert guard.generate(pipe, "a cat", seed=0, **CALL).verdicts
            with guard.attach(pipe) as watch:
                pipe("a cat", **CALL)
                assert watch.verdicts


def test_a_guard_that_was_fitted_to_nothing_says_nothing() -> None:
    with nothing_said():
        assert linear_guard(1000.0, REFUSE).generate(tiny_pipeline(), "a cat", seed=0, num_inference_steps=3).verdicts


@pytest.mark.parametrize(("change", "line"), OTHER_CALLS[:2])
def test_generate_warns_once_or_refuses_before_the_first_step(change: dict[str, Any], line: str) -> None:
    pipe = tiny_pipeline()
    with pytest.warns(UserWarning, match=line) as warned:
        guard_for(pipe, Policies.of(FLAG)).generate(pipe, "a cat", seed=0, **{**CALL, **change})
    assert len(warned) == 1
    with pytest.raises(
        FittedForOtherError, match=rf"for owner/name called otherwise: {line}; .*latent-guard fit owner"
    ):
        guard_for(pipe, REFUSE).generate(pipe, "a cat", seed=0, on_error="open", **{**CALL, **change})
    assert pipe("a cat", **CALL).images  # nothing is left attached


def test_retries_in_other_steps_are_the_guards_own() -> None:
    pipe = tiny_pipeline()
    linear = linear_guard(-1000.0)
    once = FittedFor.of(pipe, "a", {"num_inference_steps": 1}, (1.0, 0.0))
    policies = replace(linear.policies, on_mismatch="refuse")
    guard = LatentGuard(linear.model, linear.bank, policies, fitted_for=once)
    (verdict,) = guard.generate(pipe, "a cat", seed=0, num_inference_steps=1).verdicts
    assert verdict.cost.retries > 0


@pytest.mark.parametrize(("change", "line"), OTHER_CALLS)
def test_attach_warns_once_or_refuses_each_call(change: dict[str, Any], line: str) -> None:
    pipe = tiny_pipeline()
    call = {**CALL, **change}
    if "timesteps" in change:
        pipe.scheduler = diffusers.EulerDiscreteScheduler()  # DDIM takes no list of steps
    with guard_for(pipe, Policies.of(FLAG)).attach(pipe) as watch:
        with pytest.warns(UserWarning, match=line):
            pipe("a cat", **call)
        with nothing_said():
            pipe("a cat", **call)
    assert len(watch.verdicts) == 2
    with guard_for(pipe, REFUSE).attach(pipe) as watch:
        for _ in range(2):
            with pytest.raises(FittedForOtherError, match=line):
                pipe("a cat", **call)
        assert pipe("a cat", **CALL).images
    assert len(watch.verdicts) == 1


def test_attach_says_at_once_that_the_scheduler_is_another() -> None:
    other = tiny_pipeline(scheduler=diffusers.EulerDiscreteScheduler())
    with pytest.raises(FittedForOtherError, match="the scheduler is EulerDiscreteScheduler, not DDIMScheduler"):
        guard_for(tiny_pipeline(), REFUSE).attach(other)
    with pytest.warns(UserWarning, match="the scheduler is EulerDiscreteScheduler"):
        guard_for(tiny_pipeline(), Policies.of(FLAG)).attach(other)


def test_a_pipeline_without_guidance_is_not_asked_for_it() -> None:
    pipe = tiny_pipeline("StableDiffusion3Pipeline")
    call = {"prompt_embeds": embeds(5, WIDTH), "pooled_prompt_embeds": embeds(WIDTH), "num_inference_steps": 2}
    found = FittedFor.of(pipe, "a", call, (0.9, 0.4))
    assert found.arguments == {"guidance_scale": 7.0}
    assert mismatches(found, pipe, call) == []


def test_a_callback_is_held_to_the_number_of_steps() -> None:
    pipe = tiny_pipeline()
    other = {**CALL, "num_inference_steps": 3, "output_type": "latent"}
    with pytest.raises(FittedForOtherError, match="num_inference_steps is 3, not 2"):
        pipe("a cat", callback_on_step_end=LatentGuardCallback(guard_for(pipe, REFUSE)), **other)
    with nothing_said():
        pipe("a cat", callback_on_step_end=LatentGuardCallback(guard_for(pipe, REFUSE)), **CALL, output_type="latent")


def test_a_loop_of_ones_own_is_held_to_the_number_of_steps() -> None:
    def loop(policies: Policies, steps: int) -> None:
        pipe = tiny_pipeline()
        latents = embeds(4, 8, 8)
        with guard_for(pipe, policies).attach(pipe), torch.no_grad():
            pipe.scheduler.set_timesteps(steps)
            for timestep in pipe.scheduler.timesteps:
                latents = pipe.scheduler.step(latents, timestep, latents).prev_sample

    with pytest.raises(FittedForOtherError, match="num_inference_steps is 3, not 2"):
        loop(REFUSE, 3)
    with pytest.warns(UserWarning, match="num_inference_steps is 3, not 2"):
        loop(Policies("mine", FLAG), 3)
    with nothing_said():
        loop(REFUSE, 2)
