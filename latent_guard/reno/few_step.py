"""Which pipelines noise can be optimised for: those that go from pure noise to a picture in a few steps."""

from __future__ import annotations

from typing import Any

from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.pipelines.schedulers import KNOWN, require_supported

MOST_STEPS = 8  # every step's activations are held for the backward pass, and its gradient goes through all of them
_FEW_STEP = tuple(name for name, known in KNOWN.items() if known.few_step)


def require_few_step(scheduler: Any, steps: int) -> None:
    """Raise unless a scheduler that the guard knows begins at pure noise however few its steps are, and these are few.

    Raises `UnsupportedPipelineError` for the scheduler, `InputError` for the number of steps.
    """
    require_supported(scheduler)
    name = type(scheduler).__name__
    if name not in _FEW_STEP and scheduler.config.get("timestep_spacing") != "trailing":
        raise UnsupportedPipelineError(
            f"{name} is no few-step scheduler: in one step it would not begin at pure noise; use a distilled pipeline "
            f'(Turbo, LCM, Lightning) with {", ".join(_FEW_STEP)}, or another with timestep_spacing="trailing"'
        )
    if not 1 <= steps <= MOST_STEPS:
        raise InputError(
            f"{steps} steps are not few: the gradient goes back through all of them; ask for 1 to {MOST_STEPS}"
        )
