"""Where each scheduler class is just before a step: noise level, prediction and scales, read from its own numbers.

A reader takes a scheduler, the step's timestep, and the place in ``scheduler.timesteps`` where the call began, where
that is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from latent_guard.errors import GuardError
from latent_guard.pipelines.predictions import FLOW, StepState

Reader = Callable[[Any, Any, int | None], StepState]


def ddim(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    return _at_timestep(scheduler, timestep, _only_place(scheduler, timestep))


def cogvideox(scheduler: Any, timestep: Any, first_index: int | None) -> StepState:
    """As ``ddim``, but for ``clip_sample``, which stands in the config and does nothing."""
    return replace(ddim(scheduler, timestep, first_index), clip=None)


def pndm(scheduler: Any, timestep: Any, first_index: int | None) -> StepState:
    """Where PNDM is: its second and third step are at the same timestep, told apart by its counter of steps.

    The estimate is the one behind the newest model output; the step then goes along a blend of it with older ones.
    """
    places = (scheduler.timesteps == int(timestep)).nonzero().flatten().tolist()
    if len(places) != 2:
        return _at_timestep(scheduler, timestep, _only_place(scheduler, timestep))
    index = (first_index or 0) + scheduler.counter
    if index not in places:
        raise GuardError("with PNDM the guard cannot tell where this call began; use the pipeline's own call")
    return _at_timestep(scheduler, timestep, index)


def consistency(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    return _at_timestep(scheduler, timestep, _index(scheduler, timestep))


def solver(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    index = _index(scheduler, timestep)
    ratio = float(scheduler.sigmas[index])
    if scheduler.config.get("use_flow_sigmas", False):
        return _state(scheduler, 1.0 - ratio, ratio, index)
    return _state(scheduler, *_variance_preserving(ratio), index)


def euler(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    index = _index(scheduler, timestep)
    return _exploding(scheduler, float(scheduler.sigmas[index]), index)


def flow(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    """Flow matching; with ``invert_sigmas`` time runs from noise at 0, and models predict clean - noise.

    Cosmos gives a scheduler a ``sigma_max``, and has it step through EDM's samples instead, clean + sigma * noise, of
    which the last step is from the smallest sigma to itself.
    """
    index = _index(scheduler, timestep)
    sigma = float(scheduler.sigmas[index])
    if getattr(scheduler, "_scale_factors", None):
        raise GuardError("the guard does not know flow matching that enlarges latents; leave out scale_factors")
    if scheduler.config.get("sigma_max") is not None:
        idle = sigma == float(scheduler.sigmas[index + 1])
        return replace(_exploding(scheduler, sigma, index), kind="epsilon", idle=idle)
    if sigma > 1.0:
        raise GuardError(f"the guard does not know flow matching at sigma {sigma:g}: it models sigmas of up to 1 only")
    if scheduler.config.get("invert_sigmas", False):
        return _state(scheduler, sigma, 1.0 - sigma, index, output_scale=-1.0)
    return _state(scheduler, 1.0 - sigma, sigma, index)


def minimax_h3(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    """Flow matching in which models predict clean - noise, at timesteps that are 1 - sigma."""
    index = _index(scheduler, timestep)
    sigma = float(scheduler.sigmas[index])
    return _state(scheduler, 1.0 - sigma, sigma, index, output_scale=-1.0)


def kdpm2(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    """KDPM2: its second evaluation of a step is half way to the next sigma."""
    index = _index(scheduler, timestep)
    sigmas = scheduler.sigmas if scheduler.state_in_first_order else scheduler.sigmas_interpol
    return _exploding(scheduler, float(sigmas[index]), index)


def dpm_solver_sde(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    """DPM-Solver++ SDE: its second evaluation of a step is half way to the next sigma, which it keeps."""
    index = _index(scheduler, timestep)
    sigma = scheduler.sigmas[index] if scheduler.state_in_first_order else scheduler.mid_point_sigma
    return _exploding(scheduler, float(sigma), index)


def kdpm2_ancestral(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    """The same, with its numbers at other places."""
    index = _index(scheduler, timestep)
    first = scheduler.state_in_first_order
    ratio = scheduler.sigmas[index] if first else scheduler.sigmas_interpol[index - 1]
    return _exploding(scheduler, float(ratio), index)


def edm(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    """EDM's preconditioning (Karras et al. 2022, table 1): minus or plus v, of latents of deviation ``sigma_data``."""
    index = _index(scheduler, timestep)
    deviation = float(scheduler.config.sigma_data)
    signal, sigma = _variance_preserving(float(scheduler.sigmas[index]) / deviation)
    sign = -1.0 if kind_of(scheduler) == "epsilon" else 1.0
    return StepState(signal, sigma, "v_prediction", index, signal / deviation, sign, deviation)


def scm(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    """TrigFlow (Lu & Song 2024, "Simplifying, Stabilizing and Scaling", section 3): v-prediction at an angle."""
    index = _index(scheduler, timestep)
    angle = float(scheduler.timesteps[index])
    signal = max(math.cos(angle), 0.0)  # half of pi in float32 is beyond half of pi
    return StepState(signal, math.sin(angle), "v_prediction", index)


def _at_timestep(scheduler: Any, timestep: Any, index: int) -> StepState:
    signal_squared = float(scheduler.alphas_cumprod[int(timestep)])
    return _state(scheduler, math.sqrt(signal_squared), math.sqrt(1.0 - signal_squared), index)


def _exploding(scheduler: Any, ratio: float, index: int) -> StepState:
    """The state of samples clean + ratio * noise."""
    signal, sigma = _variance_preserving(ratio)
    return _state(scheduler, signal, sigma, index, sample_scale=signal)


def _state(
    scheduler: Any, signal: float, sigma: float, index: int, sample_scale: float = 1.0, output_scale: float = 1.0
) -> StepState:
    config = scheduler.config
    clip = float(config.get("clip_sample_range", 1.0)) if config.get("clip_sample", False) else None
    return StepState(signal, sigma, kind_of(scheduler), index, sample_scale, output_scale, clip=clip)


def kind_of(scheduler: Any) -> str:
    """What a scheduler's model predicts."""
    # Flow-matching schedulers have no such setting: they know one kind only.
    return str(scheduler.config.get("prediction_type", FLOW))


def _variance_preserving(ratio: float) -> tuple[float, float]:
    signal = 1.0 / math.sqrt(ratio * ratio + 1.0)
    return signal, ratio * signal


def _only_place(scheduler: Any, timestep: Any) -> int:
    places = (scheduler.timesteps == int(timestep)).nonzero()
    if len(places) != 1:
        raise GuardError(f"timestep {int(timestep)} is not one of the scheduler's own timesteps")
    return int(places[0])


def _index(scheduler: Any, timestep: Any) -> int:
    # The same order of precedence as the schedulers' own _init_step_index.
    for index in (scheduler.step_index, scheduler.begin_index):
        if index is not None:
            return int(index)
    return int(scheduler.index_for_timestep(timestep))
