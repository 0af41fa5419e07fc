"""The scheduler algebra: inverses of each other, and what diffusers itself computes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from latent_guard.errors import GuardError, UnsupportedPipelineError
from latent_guard.guidance.predictions import (
    KINDS,
    clean_estimate,
    model_output_for,
    read_step,
    require_supported,
)

BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def tensors(seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, 4, 3, 3, generator=generator, dtype=dtype) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("kind", KINDS)
@given(angle=st.floats(0.02, math.pi / 2 - 0.02), seed=st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_model_output_and_clean_estimate_are_inverses(kind: str, angle: float, seed: int) -> None:
    signal, sigma = math.cos(angle), math.sin(angle)
    output, sample = tensors(seed)
    clean = clean_estimate(output, sample, signal, sigma, kind)
    back = model_output_for(clean, sample, signal, sigma, kind)
    torch.testing.assert_close(back, output, rtol=1e-10, atol=1e-10)


def seen_by_ddim(scheduler: Any, output: Tensor, t: Any, sample: Tensor) -> Tensor:
    return scheduler.step(output, t, sample).pred_original_sample  # type: ignore[no-any-return]


def seen_by_dpmsolver(scheduler: Any, output: Tensor, t: Any, sample: Tensor) -> Tensor:
    scheduler.step(output, t, sample)
    return scheduler.model_outputs[-1]  # type: ignore[no-any-return]


SEEN_BY = {
    DDIMScheduler: seen_by_ddim,
    EulerDiscreteScheduler: seen_by_ddim,
    DPMSolverMultistepScheduler: seen_by_dpmsolver,
}


def new_scheduler(cls: Any, **settings: Any) -> Any:
    extra = {"clip_sample": False} if cls is DDIMScheduler else {}
    return cls(**BETAS, **extra, **settings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cls", SEEN_BY, ids=lambda cls: cls.__name__)
@given(seed=st.integers(0, 2**31), start=st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_clean_estimate_is_the_schedulers_own(cls: Any, kind: str, seed: int, start: int) -> None:
    scheduler = new_scheduler(cls, prediction_type=kind)
    scheduler.set_timesteps(10)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(start)
    output, sample = tensors(seed, torch.float32)
    for index in range(start, 10):
        t = scheduler.timesteps[index]
        sample = scheduler.scale_model_input(sample, t) * 0 + sample
        state = read_step(scheduler, t)
        assert (state.index, state.is_last) == (index, index == 9)
        clean = state.clean_estimate(output, sample)
        # m -> clean -> m' loses about float32's epsilon / min(signal, sigma), relative to the sample.
        again = state.clean_estimate(state.model_output_for(clean, sample), sample)
        scale = float(sample.abs().max() + output.abs().max()) / min(state.signal, 1.0)
        torch.testing.assert_close(again, clean, rtol=0, atol=2e-6 * scale)
        torch.testing.assert_close(SEEN_BY[cls](scheduler, output, t, sample), clean, rtol=0, atol=2e-6 * scale)


def test_noise_level_means_the_same_under_every_scheduler() -> None:
    levels = []
    for cls in SEEN_BY:
        scheduler = new_scheduler(cls, timestep_spacing="trailing")
        scheduler.set_timesteps(10)
        levels.append([read_step(scheduler, t).noise_level for t in scheduler.timesteps[4:5]])
    torch.testing.assert_close(torch.tensor(levels), torch.tensor(levels[:1] * 3), rtol=0.01, atol=0.01)


def test_zero_terminal_snr_works_with_v_prediction() -> None:
    scheduler = new_scheduler(
        DDIMScheduler, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    require_supported(scheduler)
    scheduler.set_timesteps(5)
    state = read_step(scheduler, scheduler.timesteps[0])
    output, sample = tensors(0, torch.float32)
    assert state.noise_level == 1.0
    torch.testing.assert_close(state.model_output_for(state.clean_estimate(output, sample), sample), output)


@pytest.mark.parametrize(
    ("scheduler", "named"),
    [
        (HeunDiscreteScheduler(), "HeunDiscreteScheduler"),
        (DDIMScheduler(), "clip_sample"),
        (DDIMScheduler(clip_sample=False, thresholding=True), "thresholding"),
        (DDIMScheduler(clip_sample=False, rescale_betas_zero_snr=True), "rescale_betas_zero_snr"),
        (DPMSolverMultistepScheduler(use_flow_sigmas=True), "use_flow_sigmas"),
        (DPMSolverMultistepScheduler(prediction_type="flow_prediction"), "flow_prediction"),
        (DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"), "sde-dpmsolver"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unsupported_scheduler_or_setting_is_named(scheduler: Any, named: str) -> None:
    with pytest.raises(UnsupportedPipelineError, match=named):
        require_supported(scheduler)


def test_churn_is_refused_in_the_step() -> None:
    scheduler = EulerDiscreteScheduler(**BETAS)
    scheduler.set_timesteps(3)
    with pytest.raises(GuardError, match="s_churn"):
        read_step(scheduler, scheduler.timesteps[0], s_churn=1.0)
