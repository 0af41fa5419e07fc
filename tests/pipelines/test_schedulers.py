"""The schedulers on the list: the estimate that the guard reads is the one that diffusers itself computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from latent_guard.errors import GuardError, UnsupportedPipelineError
from latent_guard.pipelines.predictions import FLOW, clean_estimate, model_output_for
from latent_guard.pipelines.schedulers import KNOWN, last_index, read_step, require_supported

BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
OWN = {
    "DDIMScheduler": {"clip_sample": False},
    "DDPMScheduler": {"clip_sample": False},
    "PNDMScheduler": {"skip_prk_steps": True},
}
STEPS = 10
ZERO_SNR = (
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "LCMScheduler",
    "TCDScheduler",
)
PAIRS = [(name, kind) for name, known in KNOWN.items() for kind in known.kinds]


def new_scheduler(name: str, kind: str = "epsilon", **settings: Any) -> Any:
    """A scheduler of diffusers as the guard takes it, ten steps long."""
    if name.startswith("FlowMa") or name in ("SCMScheduler", "MiniMaxH3Scheduler"):
        scheduler = getattr(diffusers, name)(**settings)
    else:
        flow = {"use_flow_sigmas": True} if kind == FLOW else {}
        betas = {} if name.startswith("EDM") else BETAS
        arguments = {**betas, **OWN.get(name, {}), **flow, **settings}
        scheduler = getattr(diffusers, name)(prediction_type=kind, **arguments)
    set_steps(scheduler, STEPS)
    return scheduler


def set_steps(scheduler: Any, steps: int) -> None:
    if type(scheduler).__name__ == "MiniMaxH3Scheduler":
        steps += 1  # it counts the sigmas
    between = {"intermediate_timesteps": None} if type(scheduler).__name__ == "SCMScheduler" else {}
    scheduler.set_timesteps(steps, **between)


# What each scheduler makes of a model output, solved for the clean estimate that it must have used.


def by_its_own_word(scheduler: Any, output: Tensor, t: Any, sample: Tensor) -> Tensor:
    return scheduler.step(output, t, sample).pred_original_sample  # type: ignore[no-any-return]


def by_the_second_it_returns(scheduler: Any, output: Tensor, t: Any, sample: Tensor) -> Tensor:
    return scheduler.step(output, None, t, None, sample)[1]  # type: ignore[no-any-return]


def by_its_history_of_noises(scheduler: Any, output: Tensor, t: Any, sample: Tensor) -> Tensor:
    scheduler.step(output, t, sample)
    alpha, sigma = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[scheduler.step_index - 1])
    return (sample - sigma * scheduler.model_outputs[-1]) / alpha  # type: ignore[no-any-return]


def by_its_noise(scheduler: Any, output: Tensor, t: Any, sample: Tensor) -> Tensor:
    noise = torch.randn(sample.shape, generator=torch.Generator().manual_seed(5))
    then = scheduler.step(output, t, sample, generator=torch.Generator().manual_seed(5)).prev_sample
    sigma = scheduler.sigmas[scheduler.step_index]
    return (then - sigma * noise) / (1 - sigma)  # type: ignore[no-any-return]


def by_its_history(scheduler: Any, output: Tensor, t: Any, sample: Tensor) -> Tensor:
    scheduler.step(output, t, sample)
    return scheduler.model_outputs[-1]  # type: ignore[no-any-return]


def by_the_boundary_conditions(scheduler: Any, output: Tensor, t: Any, sample: Tensor) -> Tensor:
    c_skip, c_out = scheduler.get_scalings_for_boundary_condition_discrete(t)
    return (scheduler.step(output, t, sample).denoised - c_skip * sample) / c_out  # type: ignore[no-any-return]


def by_its_jump_to_zero(scheduler: Any, output: Tensor, t: Any, sample: Tensor) -> Tensor:
    at, end = (math.sqrt(float(scheduler.alphas_cumprod[i])) for i in (int(t), 0))
    jumped = scheduler.step(output, t, sample, eta=1.0).pred_noised_sample
    return unmixed(jumped, sample, end, at)


def by_its_first_step(scheduler: Any, output: Tensor, t: Any, sample: Tensor) -> Tensor:
    scheduler.set_timesteps(STEPS)  # PNDM blends from its second step on
    before = int(t) - scheduler.config.num_train_timesteps // STEPS
    signal_then = scheduler.alphas_cumprod[before] if before >= 0 else scheduler.final_alpha_cumprod
    at, then = (math.sqrt(float(a)) for a in (scheduler.alphas_cumprod[int(t)], signal_then))
    return unmixed(scheduler.step(output, t, sample).prev_sample, sample, then, at)


def by_its_line(scheduler: Any, output: Tensor, t: Any, sample: Tensor) -> Tensor:
    following = scheduler.step(output, t, sample).prev_sample
    here, there = (float(scheduler.sigmas[scheduler.step_index + shift]) for shift in (-1, 0))
    return sample + (following - sample) * here / (here - there)


def unmixed(then: Tensor, now: Tensor, signal_then: float, signal_now: float) -> Tensor:
    """The clean latent of two noisy ones with the same noise."""
    sigma_then, sigma_now = math.sqrt(1 - signal_then**2), math.sqrt(1 - signal_now**2)
    return (then * sigma_now - now * sigma_then) / (signal_then * sigma_now - signal_now * sigma_then)


SEEN: dict[str, Callable[[Any, Tensor, Any, Tensor], Tensor]] = {
    "DDIMScheduler": by_its_own_word,
    "PNDMScheduler": by_its_first_step,
    "DPMSolverMultistepScheduler": by_its_history,
    "UniPCMultistepScheduler": by_its_history,
    "EulerDiscreteScheduler": by_its_own_word,
    "EulerAncestralDiscreteScheduler": by_its_own_word,
    "LCMScheduler": by_the_boundary_conditions,
    "TCDScheduler": by_its_jump_to_zero,
    "FlowMatchEulerDiscreteScheduler": by_its_line,
    "FlowMapEulerDiscreteScheduler": by_its_line,
    "MiniMaxH3Scheduler": by_its_line,
    "DDPMScheduler": by_its_own_word,
    "DPMSolverSDEScheduler": by_its_own_word,
    "CogVideoXDDIMScheduler": by_its_own_word,
    "CogVideoXDPMScheduler": by_the_second_it_returns,
    "DPMSolverSinglestepScheduler": by_its_history,
    "DEISMultistepScheduler": by_its_history_of_noises,
    "HeunDiscreteScheduler": by_its_own_word,
    "LMSDiscreteScheduler": by_its_own_word,
    "KDPM2DiscreteScheduler": by_its_own_word,
    "KDPM2AncestralDiscreteScheduler": by_its_own_word,
    "EDMEulerScheduler": by_its_own_word,
    "EDMDPMSolverMultistepScheduler": by_its_history,
    "SCMScheduler": by_its_own_word,
    "FlowMatchLCMScheduler": by_its_noise,
}


@pytest.mark.parametrize(("name", "kind"), PAIRS, ids="-".join)
@given(seed=st.integers(0, 2**31), index=st.integers(0, STEPS - 1))
@settings(max_examples=10, deadline=None)
def test_the_model_output_comes_back_from_the_clean_estimate(name: str, kind: str, seed: int, index: int) -> None:
    """In float64 at the scheduler's own noise levels, relative to the model output."""
    scheduler = new_scheduler(name, kind)
    state = read_at(scheduler, index)
    output, sample = torch.randn(2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    clean = clean_estimate(output, sample, state.signal, state.sigma, state.kind)
    back = model_output_for(clean, sample, state.signal, state.sigma, state.kind)
    assert float((back - output).norm() / output.norm()) < 1e-12


@pytest.mark.parametrize(("name", "kind"), PAIRS, ids="-".join)
@given(seed=st.integers(0, 2**31), start=st.integers(0, STEPS - 1))
@settings(max_examples=5, deadline=None)
def test_the_clean_estimate_is_the_schedulers_own(name: str, kind: str, seed: int, start: int) -> None:
    scheduler = new_scheduler(name, kind)
    begin_at(scheduler, start)
    output, sample = torch.randn(2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
    for index in range(start, min(STEPS, last_index(scheduler) + 1)):
        t = scheduler.timesteps[index]
        scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else None
        state = read_step(scheduler, t) if name != "PNDMScheduler" else read_at(scheduler, index)
        assert state.index == index
        clean = state.clean_estimate(output, sample)
        seen = SEEN[name](scheduler, output, t, sample)
        # Solving a step for its estimate divides by the signal, and by how far the step goes.
        tolerance = 1e-5 * float(sample.abs().max() + output.abs().max()) / min(state.signal or 1.0, 1.0)
        torch.testing.assert_close(seen, clean, rtol=0, atol=max(tolerance, 1e-4))


def begin_at(scheduler: Any, index: int) -> None:
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(index)


def read_at(scheduler: Any, index: int) -> Any:
    begin_at(scheduler, index)
    if hasattr(scheduler, "counter"):
        scheduler.counter = index
    return read_step(scheduler, scheduler.timesteps[index])


@pytest.mark.parametrize("name", KNOWN)
def test_the_steps_are_counted(name: str) -> None:
    scheduler = new_scheduler(name, KNOWN[name].kinds[0])
    for steps in (1, 2, 3, STEPS):
        set_steps(scheduler, steps)
        sample = torch.randn(1, 4, 2, 2)
        states = []
        for t in scheduler.timesteps[: last_index(scheduler) + 1]:
            states.append(read_step(scheduler, t))
            scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else None
            given = {"old_pred_original_sample": None, "timestep_back": None} if "CogVideoXDPM" in name else {}
            sample = scheduler.step(
                model_output=torch.zeros_like(sample), timestep=t, sample=sample, return_dict=False, **given
            )[0]
        assert [state.index for state in states] == list(range(last_index(scheduler) + 1))
        assert states[-1].index + KNOWN[name].beyond == len(scheduler.timesteps) - 1


def test_noise_level_means_the_same_whatever_the_scale_of_the_samples() -> None:
    levels = [
        read_at(new_scheduler(name, timestep_spacing="trailing"), 4).noise_level
        for name in ("DDIMScheduler", *ZERO_SNR[:4])
    ]
    torch.testing.assert_close(torch.tensor(levels), torch.full((5,), levels[0]), rtol=0.01, atol=0.01)


def test_zero_terminal_snr_works_with_v_prediction() -> None:
    scheduler = new_scheduler("DDIMScheduler", "v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
    require_supported(scheduler)
    state = read_step(scheduler, scheduler.timesteps[0])
    output, sample = torch.randn(2, 2, 4, 3, 3)
    assert state.noise_level == 1.0
    torch.testing.assert_close(state.model_output_for(state.clean_estimate(output, sample), sample), output)


@pytest.mark.parametrize("name", ["DDIMScheduler", "DDPMScheduler", "HeunDiscreteScheduler"])
@pytest.mark.parametrize("limit", [1.0, 0.25])
def test_estimates_are_cut_off_where_the_scheduler_cuts_them_off(name: str, limit: float) -> None:
    """A bare `DDIMScheduler()` clips by default."""
    scheduler = new_scheduler(name, clip_sample=True, clip_sample_range=limit)
    require_supported(scheduler)
    output, sample = torch.randn(2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    state = read_at(scheduler, 4)
    clean = state.clean_estimate(output, 3 * sample)
    assert clean.abs().max() == limit
    torch.testing.assert_close(clean, by_its_own_word(scheduler, output, scheduler.timesteps[4], 3 * sample))


def test_flow_matching_that_runs_from_noise_at_zero_has_its_models_output_negated() -> None:
    """OmniGen and Mochi: the sample is sigma * clean + (1 - sigma) * noise."""
    scheduler = new_scheduler("FlowMatchEulerDiscreteScheduler", invert_sigmas=True)
    clean, noise = torch.randn(2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    for index in range(STEPS):
        state = read_at(scheduler, index)
        sigma = float(scheduler.sigmas[index])
        assert state.noise_level == pytest.approx(1 - sigma)
        sample = sigma * clean + (1 - sigma) * noise
        torch.testing.assert_close(state.clean_estimate(clean - noise, sample), clean)
        torch.testing.assert_close(state.model_output_for(clean, sample), clean - noise, rtol=1e-3, atol=1e-3)


def test_continuous_timesteps_say_nothing_else_than_whole_ones() -> None:
    """SVD's scheduler: the estimate depends on sigma alone."""
    settings = {"timestep_type": "continuous", "use_karras_sigmas": True, "sigma_min": 0.002, "sigma_max": 700.0}
    scheduler = new_scheduler("EulerDiscreteScheduler", "v_prediction", **settings)
    output, sample = torch.randn(2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    for timestep in scheduler.timesteps:
        estimate = read_step(scheduler, timestep).clean_estimate(output, sample)
        expected = by_its_own_word(scheduler, output, timestep, sample)
        torch.testing.assert_close(estimate, expected, rtol=1e-4, atol=1e-4)


def test_flow_matching_at_a_sigma_above_one_is_refused() -> None:
    """But for Cosmos, which gives its scheduler a ``sigma_max``."""
    scheduler = new_scheduler("FlowMatchEulerDiscreteScheduler")
    scheduler.sigmas = scheduler.sigmas * 80
    with pytest.raises(GuardError, match="sigma 80"):
        read_step(scheduler, scheduler.timesteps[0])


def test_flow_matching_with_a_sigma_max_steps_through_edms_samples() -> None:
    """Cosmos: the sample is clean + sigma * noise, and the last step is no step."""
    scheduler = new_scheduler("FlowMatchEulerDiscreteScheduler", use_karras_sigmas=True)
    scheduler.register_to_config(sigma_max=80.0, sigma_min=0.002)
    set_steps(scheduler, STEPS)
    scheduler.sigmas[-1] = scheduler.sigmas[-2]
    clean, noise = torch.randn(2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    for index in range(STEPS):
        state = read_at(scheduler, index)
        sigma = float(scheduler.sigmas[index])
        assert state.noise_level == pytest.approx(sigma / (1 + sigma))
        assert state.idle == (index == STEPS - 1)
        sample = clean + sigma * noise
        torch.testing.assert_close(state.clean_estimate(noise, sample), clean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(state.model_output_for(clean, sample), noise, rtol=1e-2, atol=1e-3)


def test_flow_matching_starts_at_pure_noise() -> None:
    scheduler = new_scheduler("FlowMatchEulerDiscreteScheduler")
    state = read_step(scheduler, scheduler.timesteps[0])
    assert (state.noise_level, state.signal) == (1.0, 0.0)


@pytest.mark.parametrize(("name", "kind"), PAIRS, ids="-".join)
def test_every_pair_on_the_list_is_accepted(name: str, kind: str) -> None:
    scheduler = new_scheduler(name, kind)
    require_supported(scheduler)
    assert 0.0 < read_step(scheduler, scheduler.timesteps[0]).noise_level <= 1.0


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("KarrasVeScheduler", {}, "KarrasVeScheduler"),
    ("ScoreSdeVeScheduler", {}, "ScoreSdeVeScheduler"),
    ("DDPMScheduler", {"variance_type": "learned_range"}, "variance_type"),
    ("DDPMScheduler", {"thresholding": True}, "thresholding"),
    ("FlowMatchLCMScheduler", {"scale_factors": [0.5, 1.0], "upscale_mode": "nearest"}, "scale_factors"),
    ("LCMScheduler", {"clip_sample": True}, "clip_sample"),
    ("TCDScheduler", {"clip_sample": True}, "clip_sample"),
    ("PNDMScheduler", {}, "skip_prk_steps"),
    ("PNDMScheduler", {"skip_prk_steps": True, "prediction_type": "sample"}, "prediction type 'sample'"),
    ("EulerAncestralDiscreteScheduler", {"prediction_type": "sample"}, "prediction type 'sample'"),
    ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True}, "use_flow_sigmas"),
    ("DPMSolverMultistepScheduler", {"prediction_type": FLOW}, "use_flow_sigmas"),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}, "dpmsolver"),
    ("DPMSolverMultistepScheduler", {"variance_type": "learned_range"}, "variance_type"),
    ("UniPCMultistepScheduler", {"predict_x0": False}, "predict_x0"),
]
REFUSED += [
    (name, {"thresholding": True, "clip_sample": False}, "thresholding")
    for name in ("DDIMScheduler", "LCMScheduler", "TCDScheduler")
]
REFUSED += [(f"{name}MultistepScheduler", {"thresholding": True}, "thresholding") for name in ("DPMSolver", "UniPC")]
REFUSED += [(name, {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr with epsilon") for name in ZERO_SNR]


@pytest.mark.parametrize(("name", "settings", "named"), REFUSED, ids=lambda value: value if type(value) is str else "")
def test_an_unsupported_scheduler_or_setting_is_named(name: str, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedPipelineError, match=named):
        require_supported(getattr(diffusers, name)(**settings))


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("EulerDiscreteScheduler", {"s_churn": 1.0}),
        ("FlowMatchEulerDiscreteScheduler", {"per_token_timesteps": torch.ones(1, 4)}),
    ],
)
def test_an_argument_that_changes_the_algebra_is_refused_in_the_step(name: str, argument: dict[str, Any]) -> None:
    scheduler = new_scheduler(name)
    with pytest.raises(GuardError, match=next(iter(argument))):
        read_step(scheduler, scheduler.timesteps[0], **argument)


def test_pndm_that_starts_at_its_doubled_timestep_is_refused() -> None:
    scheduler = new_scheduler("PNDMScheduler")
    with pytest.raises(GuardError, match="PNDM"):
        read_step(scheduler, scheduler.timesteps[1])
