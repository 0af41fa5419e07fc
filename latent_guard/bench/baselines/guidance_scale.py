"""Methods that work through classifier-free guidance, refused where there is none."""

from __future__ import annotations

import inspect
from typing import Any

from latent_guard.errors import InputError


def require_guidance(method: str, pipe: Any, guidance_scale: float | None) -> None:
    """Raise InputError unless the pipeline's call runs with classifier-free guidance: a scale above 1.

    Without it nothing is predicted for a second text (Ho & Salimans 2022), and the method would do nothing.
    """
    parameters = inspect.signature(type(pipe).__call__).parameters
    if "negative_prompt" not in parameters:
        raise InputError(f"{method}: {type(pipe).__name__} takes no negative prompt; use a pipeline that does")
    scale = parameters["guidance_scale"].default if guidance_scale is None else guidance_scale
    if not scale > 1:
        raise InputError(
            f"{method} needs classifier-free guidance, and a guidance scale of {scale:g} has none; "
            "use a scale above 1, or leave this method out"
        )


def require_stable_diffusion(method: str, pipe: Any) -> None:
    """Raise InputError for a pipeline that is not built as Stable Diffusion 1 and 2 are."""
    if type(pipe).__name__ != "StableDiffusionPipeline":
        raise InputError(
            f"{method} works with a StableDiffusionPipeline, not with a {type(pipe).__name__}; leave it out"
        )
