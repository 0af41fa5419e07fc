"""Which of a scheduler's steps a pipeline's present call takes."""

from __future__ import annotations

from typing import Any

from latent_guard.pipelines.schedulers import last_index


def first_step(pipe: Any) -> int | None:
    """The index, in ``scheduler.timesteps``, at which a pipeline's present call begins; None if it does not say.

    Image to image leaves out the steps before its strength.
    """
    steps = getattr(pipe, "_num_timesteps", None)
    return len(pipe.scheduler.timesteps) - steps if isinstance(steps, int) else None


def last_step(pipe: Any) -> int:
    """The index, in ``scheduler.timesteps``, of the last step of a pipeline's present call.

    SDXL's ``denoising_end`` leaves the steps after it to a refiner.
    """
    timesteps = pipe.scheduler.timesteps
    end = getattr(pipe, "denoising_end", None)
    if not (isinstance(end, float) and 0.0 < end < 1.0):
        return last_index(pipe.scheduler)
    trained = pipe.scheduler.config.num_train_timesteps
    return int((timesteps >= round(trained - end * trained)).sum()) - 1
