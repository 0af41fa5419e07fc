"""The schedulers that the guard knows, each with the prediction types and settings whose algebra it models.

It is an allow-list: a scheduler class, a prediction type or a setting that is not on it is refused by name when
the guard is attached. What is on it agrees with diffusers' own arithmetic (tests/pipelines/test_schedulers.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from latent_guard.errors import GuardError, UnsupportedPipelineError
from latent_guard.pipelines import scheduler_readers as read
from latent_guard.pipelines.predictions import FLOW, StepState


@dataclass(frozen=True)
class Known:
    """How to read one scheduler class, and what it may predict.

    ``few_step``: made for few steps, or (flow matching) starting from pure noise at any number of steps. ``memory`` is
    the name of the list in which a solver keeps the clean estimates that it extrapolates from. ``harmless`` are values
    of settings that change nothing in what is read, beside those that are harmless in any scheduler. ``beyond``: how
    many of ``timesteps`` come after the last step.
    """

    read: read.Reader
    kinds: tuple[str, ...]
    few_step: bool = False
    memory: str | None = None
    harmless: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    beyond: int = 0


def require_supported(scheduler: Any) -> None:
    """Raise ``UnsupportedPipelineError``, by name, for a scheduler or a setting of it that is not on the list."""
    name = type(scheduler).__name__
    if name not in KNOWN or not type(scheduler).__module__.startswith("diffusers."):
        raise UnsupportedPipelineError(
            f"the guard does not know the scheduler {name}; use one of {', '.join(KNOWN)}, "
            f"as in pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)"
        )
    kind = read.kind_of(scheduler)
    kinds = KNOWN[name].kinds
    if kind not in kinds:
        raise UnsupportedPipelineError(
            f"{name}: the guard does not know the prediction type {kind!r} of it; it knows {', '.join(kinds)}"
        )
    refused = _refused_settings(scheduler.config, kind, KNOWN[name].harmless)
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
    "scale_factors": None,
}
_ALGORITHMS = ("dpmsolver++", "sde-dpmsolver++")


def _refused_settings(config: Any, kind: str, harmless: Mapping[str, tuple[Any, ...]]) -> list[str]:
    refused = [
        f"{name}={config[name]}"
        for name, value in _HARMLESS.items()
        if config.get(name, value) not in (value, *harmless.get(name, ()))
    ]
    if config.get("algorithm_type", "dpmsolver++") not in (*_ALGORITHMS, *harmless.get("algorithm_type", ())):
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


def last_index(scheduler: Any) -> int:
    """The place in a supported scheduler's ``timesteps`` of the last step that can be made."""
    return len(scheduler.timesteps) - 1 - KNOWN[type(scheduler).__name__].beyond


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


_ALL = ("epsilon", "v_prediction", "sample")
_NOISE = ("epsilon", "v_prediction")
_CLIPS = {"clip_sample": (True,)}
_CUTS_OFF = {**_CLIPS, "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log")}
KNOWN: dict[str, Known] = {
    "DDIMScheduler": Known(read.ddim, _ALL, harmless=_CLIPS),
    "DDPMScheduler": Known(read.ddim, _ALL, harmless=_CUTS_OFF),
    "CogVideoXDDIMScheduler": Known(read.cogvideox, _ALL, harmless=_CLIPS),
    "CogVideoXDPMScheduler": Known(read.cogvideox, _ALL, harmless=_CLIPS),
    "PNDMScheduler": Known(read.pndm, _NOISE),
    "DPMSolverMultistepScheduler": Known(read.solver, (*_ALL, FLOW), memory="model_outputs"),
    "DPMSolverSinglestepScheduler": Known(read.solver, (*_ALL, FLOW), memory="model_outputs"),
    "DPMSolverSDEScheduler": Known(read.dpm_solver_sde, _NOISE),
    "UniPCMultistepScheduler": Known(read.solver, (*_ALL, FLOW)),
    "DEISMultistepScheduler": Known(read.solver, (*_ALL, FLOW), harmless={"algorithm_type": ("deis",)}),
    "EulerDiscreteScheduler": Known(read.euler, _ALL, harmless={"timestep_type": ("continuous",)}),
    "EulerAncestralDiscreteScheduler": Known(read.euler, _NOISE),
    "HeunDiscreteScheduler": Known(read.euler, _NOISE, harmless=_CLIPS),
    "LMSDiscreteScheduler": Known(read.euler, _ALL),
    "KDPM2DiscreteScheduler": Known(read.kdpm2, _NOISE),
    "KDPM2AncestralDiscreteScheduler": Known(read.kdpm2_ancestral, _NOISE),
    "EDMEulerScheduler": Known(read.edm, _NOISE),
    "EDMDPMSolverMultistepScheduler": Known(read.edm, _NOISE, memory="model_outputs"),
    "LCMScheduler": Known(read.consistency, _ALL, few_step=True),
    "TCDScheduler": Known(read.consistency, _ALL, few_step=True),
    "SCMScheduler": Known(read.scm, ("trigflow",), few_step=True, beyond=1),
    "FlowMatchEulerDiscreteScheduler": Known(read.flow, (FLOW,), few_step=True, harmless={"invert_sigmas": (True,)}),
    "FlowMapEulerDiscreteScheduler": Known(read.flow, (FLOW,), few_step=True),
    "MiniMaxH3Scheduler": Known(read.minimax_h3, (FLOW,), few_step=True),
    "FlowMatchLCMScheduler": Known(read.flow, (FLOW,), few_step=True),
}
