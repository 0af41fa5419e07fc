"""What a scheduler's model output says about the clean latent, and the way back.

All algebra is variance preserving: a noisy latent is x = signal * clean + sigma * noise with
signal^2 + sigma^2 = 1. Euler's samples are not scaled like that (x = clean + s * noise); multiplied
by signal = 1 / sqrt(s^2 + 1) they are, with sigma = s * signal. So one pair of functions serves all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from latent_guard.errors import GuardError, UnsupportedPipelineError

KINDS = ("epsilon", "v_prediction", "sample")


def clean_estimate(model_output: Tensor, sample: Tensor, signal: float, sigma: float, kind: str) -> Tensor:
    """The clean latent that a model output stands for; all tensors of one shape.

    `signal` and `sigma` are the variance-preserving weights of `sample`; `kind` is one of `KINDS`.
    Salimans & Ho, "Progressive Distillation" (2022), section 4 and appendix D.
    """
    if kind == "epsilon":
        return (sample - sigma * model_output) / signal
    if kind == "v_prediction":
        return signal * sample - sigma * model_output
    if kind == "sample":
        return model_output
    raise UnsupportedPipelineError(_unknown_kind(kind))


def model_output_for(clean: Tensor, sample: Tensor, signal: float, sigma: float, kind: str) -> Tensor:
    """The model output that stands for a clean latent: the inverse of `clean_estimate` in its first argument."""
    if kind == "epsilon":
        return (sample - signal * clean) / sigma
    if kind == "v_prediction":
        return (signal * sample - clean) / sigma
    if kind == "sample":
        return clean
    raise UnsupportedPipelineError(_unknown_kind(kind))


@dataclass(frozen=True)
class StepState:
    """Where a scheduler is just before one of its steps.

    `signal` and `sigma` belong to `sample * sample_scale`; `index` counts in `scheduler.timesteps`.
    """

    signal: float
    sigma: float
    kind: str
    index: int
    is_last: bool
    sample_scale: float = 1.0

    @property
    def noise_level(self) -> float:
        """sigma / (sigma + signal): 0 for a clean latent, 1 for pure noise."""
        return self.sigma / (self.sigma + self.signal)

    def clean_estimate(self, model_output: Tensor, sample: Tensor) -> Tensor:
        """The clean latent, in float32, of a scheduler's `model_output` and `sample`."""
        scaled = sample.float() * self.sample_scale
        return clean_estimate(model_output.float(), scaled, self.signal, self.sigma, self.kind)

    def model_output_for(self, clean: Tensor, sample: Tensor) -> Tensor:
        """The model output, in float32, that makes the scheduler see `clean`."""
        scaled = sample.float() * self.sample_scale
        return model_output_for(clean.float(), scaled, self.signal, self.sigma, self.kind)


def require_supported(scheduler: Any) -> None:
    """Raise `UnsupportedPipelineError`, by name, for a scheduler or a setting of it that is not on the list."""
    name, config = type(scheduler).__name__, scheduler.config
    if name not in _READERS:
        raise UnsupportedPipelineError(
            f"the guard does not know the scheduler {name}; use one of {', '.join(_READERS)}, "
            f"as in pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)"
        )
    kind = config.prediction_type
    if kind not in KINDS:
        raise UnsupportedPipelineError(f"{name}: {_unknown_kind(kind)}")
    refused = [setting for setting, value in _REFUSED.items() if config.get(setting, value) != value]
    if config.get("algorithm_type", "dpmsolver++") != "dpmsolver++":
        refused.append(f"algorithm_type={config.algorithm_type}")
    if kind == "epsilon" and config.get("rescale_betas_zero_snr", False):
        refused.append("rescale_betas_zero_snr with epsilon prediction (pure noise has no clean estimate)")
    if refused:
        raise UnsupportedPipelineError(f"{name}: the guard does not support {', '.join(refused)}; switch it off")


_REFUSED = {"thresholding": False, "clip_sample": False, "use_flow_sigmas": False, "variance_type": None}


def read_step(scheduler: Any, timestep: Any, **step_arguments: Any) -> StepState:
    """The state of a supported scheduler before `scheduler.step(..., timestep, ...)`.

    `step_arguments` are the call's other arguments: Euler's `s_churn` is refused, as it adds noise first.
    """
    if step_arguments.get("s_churn", 0.0) > 0.0:
        raise GuardError("the guard does not support s_churn above 0; leave it out of the call")
    return _READERS[type(scheduler).__name__](scheduler, timestep)


def _read_ddim(scheduler: Any, timestep: Any) -> StepState:
    signal_squared = float(scheduler.alphas_cumprod[int(timestep)])
    places = (scheduler.timesteps == int(timestep)).nonzero()
    if len(places) != 1:
        raise GuardError(f"timestep {int(timestep)} is not one of the scheduler's own timesteps")
    return _state(scheduler, math.sqrt(signal_squared), math.sqrt(1.0 - signal_squared), int(places[0]))


def _read_dpmsolver(scheduler: Any, timestep: Any) -> StepState:
    index = _index(scheduler, timestep)
    return _state(scheduler, *_variance_preserving(float(scheduler.sigmas[index])), index)


def _read_euler(scheduler: Any, timestep: Any) -> StepState:
    index = _index(scheduler, timestep)
    signal, sigma = _variance_preserving(float(scheduler.sigmas[index]))
    return _state(scheduler, signal, sigma, index, sample_scale=signal)


def _state(scheduler: Any, signal: float, sigma: float, index: int, sample_scale: float = 1.0) -> StepState:
    is_last = index == len(scheduler.timesteps) - 1
    return StepState(signal, sigma, scheduler.config.prediction_type, index, is_last, sample_scale)


def _variance_preserving(ratio: float) -> tuple[float, float]:
    signal = 1.0 / math.sqrt(ratio * ratio + 1.0)
    return signal, ratio * signal


def _index(scheduler: Any, timestep: Any) -> int:
    # The same order of precedence as the schedulers' own _init_step_index.
    for index in (scheduler.step_index, scheduler.begin_index):
        if index is not None:
            return int(index)
    return int(scheduler.index_for_timestep(timestep))


def _unknown_kind(kind: str) -> str:
    return f"the guard does not know the prediction type {kind!r}; it knows {', '.join(KINDS)}"


_READERS: dict[str, Callable[[Any, Any], StepState]] = {
    "DDIMScheduler": _read_ddim,
    "DPMSolverMultistepScheduler": _read_dpmsolver,
    "EulerDiscreteScheduler": _read_euler,
}
