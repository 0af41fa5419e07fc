"""Which schedulers and how many steps count as few."""

from __future__ import annotations

import diffusers
import pytest

from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.reno.search import MAX_STEPS, require_few_step

FEW = [
    diffusers.LCMScheduler(clip_sample=False),
    diffusers.TCDScheduler(clip_sample=False),
    diffusers.FlowMatchEulerDiscreteScheduler(),
    diffusers.EulerDiscreteScheduler(timestep_spacing="trailing"),
    diffusers.EulerAncestralDiscreteScheduler(timestep_spacing="trailing"),
    diffusers.DDIMScheduler(timestep_spacing="trailing", clip_sample=False),
]
MANY = [
    diffusers.DDIMScheduler(clip_sample=False),
    diffusers.EulerDiscreteScheduler(),
    diffusers.PNDMScheduler(skip_prk_steps=True),
    diffusers.DPMSolverMultistepScheduler(),
]


@pytest.mark.parametrize("scheduler", FEW, ids=lambda scheduler: type(scheduler).__name__)
def test_schedulers_that_begin_at_pure_noise_are_taken_and_do_begin_there_in_one_step(
    scheduler: diffusers.SchedulerMixin,
) -> None:
    require_few_step(scheduler, 1)
    require_few_step(scheduler, MAX_STEPS)
    scheduler.set_timesteps(1)
    assert int(scheduler.timesteps[0]) >= 990


@pytest.mark.parametrize("scheduler", MANY, ids=lambda scheduler: type(scheduler).__name__)
def test_others_are_refused_by_name(scheduler: object) -> None:
    with pytest.raises(UnsupportedPipelineError, match=type(scheduler).__name__):
        require_few_step(scheduler, 1)


@pytest.mark.parametrize("steps", [0, MAX_STEPS + 1])
def test_no_steps_or_many_are_refused(steps: int) -> None:
    with pytest.raises(InputError, match="ask for 1 to 8"):
        require_few_step(FEW[0], steps)
