"""The schedulers that the guard knows, each with the prediction types and settings whose algebra it models.

It is an allow-list: a scheduler class, a prediction type or a setting that is not on it is refused by name when
the guard is attached. What is on it agrees with diffusers' own arithmetic (tests/pipelines/test_schedulers.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from latent_guard.errors import GuardError, UnsupportedPipelineError
from latent_guard.pipelines.predictions import FLOW, StepState

Reader = Callable[[Any, Any, int | None], StepState]


@dataclass(frozen=True)
class Known:
    """How to read one scheduler class, and what it may predict.

    ``few_step``: made for few steps, or (flow matching) starting from pure noise at any number of steps. ``memory`` is
    the name of the list in which a solver keeps the clean estimates that it extrapolates from.
    """

    read: Reader
    kinds: tuple[str, ...]
    few_step: bool = False
    memory: str | None = None


def require_supported(scheduler: Any) -> None:
    """Raise ``UnsupportedPipelineError``, by name, for a scheduler or a setting of it that is not on the list."""
    name = type(scheduler).__name__
    if name not in KNOWN or not type(scheduler).__module__.startswith("diffusers."):
        raise UnsupportedPipelineError(
            f"the guard does not know the scheduler {name}; use one of {', '.join(KNOWN)}, "
            f"as in pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)"
        )
    kind = _kind(scheduler)
    kinds = KNOWN[name].kinds
    if kind not in kinds:
        raise UnsupportedPipelineError(
            f"{name}: the guard does not know the prediction type {kind!r} of it; it knows {', '.join(kinds)}"
        )
    refused = _refused_settings(scheduler.config, kind)
    if refused:
        raise UnsupportedPipelineError(f"{name}: the guard does not support {', '.join(refused)}; switch it off")


# What changes the clean estimate behind the model output, or leaves it without one; with the value that does not.
_HARMLESS = {
    "thresholding": False,
    "clip_sample": False,
    "variance_type": None,
    "invert_sigmas": False,
    "skip_prk_steps": True,
    "predict_x0": True,
    "solver_p": None,
    "timestep_type": "discrete",
}
_ALGORITHMS = ("dpmsolver++", "sde-dpmsolver++")


def _refused_settings(config: Any, kind: str) -> list[str]:
    refused = [f"{name}={config[name]}" for name, value in _HARMLESS.items() if config.get(name, value) != value]
    if config.get("algorithm_type", "dpmsolver++") not in _ALGORITHMS:
        refused.append(f"algorithm_type={config['algorithm_type']}")
    if config.get("use_flow_sigmas", False) and kind != FLOW:
        refused.append(f"use_flow_sigmas with {kind} prediction")
    if kind == FLOW and not config.get("use_flow_sigmas", True):
        refused.append("flow_prediction without use_flow_sigmas")
    if kind == "epsilon" and config.get("rescale_betas_zero_snr", False):
        refused.append("rescale_betas_zero_snr with epsilon prediction (pure noise has no clean estimate)")
    return refused


def read_step(scheduler: Any, timestep: Any, *, first_index: int | None = None, **step_arguments: Any) -> StepState:
    """The state of a supported scheduler before ``scheduler.step(..., timestep, ...)``.

    ``first_index``, in ``scheduler.timesteps``, is where the call began, where that is known.

    ``step_arguments`` are the call's other arguments. ``s_churn`` is refused, as it adds noise first, and
    ``per_token_timesteps``, as it gives every token a noise level of its own.
    """
    if step_arguments.get("s_churn", 0.0) > 0.0:
        raise GuardError("the guard does not support s_churn above 0; leave it out of the call")
    if step_arguments.get("per_token_timesteps") is not None:
        raise GuardError("the guard does not support per_token_timesteps; leave them out of the call")
    return KNOWN[type(scheduler).__name__].read(scheduler, timestep, first_index)


def is_few_step(scheduler: Any) -> bool:
    """True if a supported scheduler begins at pure noise however few its steps are."""
    return KNOWN[type(scheduler).__name__].few_step or scheduler.config.get("timestep_spacing") == "trailing"


def few_step_schedulers() -> list[str]:
    """The supported classes that begin at pure noise however few their steps are."""
    return [name for name, known in KNOWN.items() if known.few_step]


def memory_of_estimates(scheduler: Any) -> list[Any] | None:
    """The list of clean estimates that a supported scheduler extrapolates from, the newest last; None without one."""
    name = KNOWN[type(scheduler).__name__].memory
    return None if name is None else getattr(scheduler, name)


def _read_ddim(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    return _at_timestep(scheduler, timestep, _only_place(scheduler, timestep))


def _read_pndm(scheduler: Any, timestep: Any, first_index: int | None) -> StepState:
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


def _read_consistency(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    return _at_timestep(scheduler, timestep, _index(scheduler, timestep))


def _read_solver(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    index = _index(scheduler, timestep)
    ratio = float(scheduler.sigmas[index])
    if scheduler.config.get("use_flow_sigmas", False):
        return _state(scheduler, 1.0 - ratio, ratio, index)
    return _state(scheduler, *_variance_preserving(ratio), index)


def _read_euler(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    index = _index(scheduler, timestep)
    signal, sigma = _variance_preserving(float(scheduler.sigmas[index]))
    return _state(scheduler, signal, sigma, index, sample_scale=signal)


def _read_flow(scheduler: Any, timestep: Any, _: int | None) -> StepState:
    index = _index(scheduler, timestep)
    sigma = float(scheduler.sigmas[index])
    return _state(scheduler, 1.0 - sigma, sigma, index)


def _at_timestep(scheduler: Any, timestep: Any, index: int) -> StepState:
    signal_squared = float(scheduler.alphas_cumprod[int(timestep)])
    return _state(scheduler, math.sqrt(signal_squared), math.sqrt(1.0 - signal_squared), index)


def _state(scheduler: Any, signal: float, sigma: float, index: int, sample_scale: float = 1.0) -> StepState:
    return StepState(signal, sigma, _kind(scheduler), index, sample_scale)


def _kind(scheduler: Any) -> str:
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


_ALL = ("epsilon", "v_prediction", "sample")
KNOWN: dict[str, Known] = {
    "DDIMScheduler": Known(_read_ddim, _ALL),
    "PNDMScheduler": Known(_read_pndm, ("epsilon", "v_prediction")),
    "DPMSolverMultistepScheduler": Known(_read_solver, (*_ALL, FLOW), memory="model_outputs"),
    "UniPCMultistepScheduler": Known(_read_solver, (*_ALL, FLOW)),
    "EulerDiscreteScheduler": Known(_read_euler, _ALL),
    "EulerAncestralDiscreteScheduler": Known(_read_euler, ("epsilon", "v_prediction")),
    "LCMScheduler": Known(_read_consistency, _ALL, few_step=True),
    "TCDScheduler": Known(_read_consistency, _ALL, few_step=True),
    "FlowMatchEulerDiscreteScheduler": Known(_read_flow, (FLOW,), few_step=True),
}
