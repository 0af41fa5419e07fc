"""Modular pipelines of diffusers: blocks that pass a ``PipelineState`` on, in the place of one call with arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.pipelines.families import DENOISERS

PICTURES, LATENTS = ("images", "videos"), "latents"  # what a state calls them


def is_modular(pipe: Any) -> bool:
    """True for a ``ModularPipeline``, whose blocks may be of anybody's making."""
    return any(base.__name__ == "ModularPipeline" for base in type(pipe).__mro__)


def is_state(output: Any) -> bool:
    """True for the ``PipelineState`` that a modular pipeline's call returns."""
    return type(output).__name__ == "PipelineState"


def require_loaded(pipe: Any) -> None:
    """Raise ``UnsupportedPipelineError`` for a modular pipeline that lacks what the guard stands at.

    Its blocks name the components that they expect, which are loaded later, or were given to another pipeline.
    """
    denoiser = next((name for name in DENOISERS if hasattr(pipe, name)), DENOISERS[-1])
    absent = [name for name in ("scheduler", denoiser, "vae") if getattr(pipe, name, None) is None]
    if absent:
        raise UnsupportedPipelineError(
            f"this {type(pipe).__name__} has no {' and no '.join(absent)}: call pipe.load_components() or "
            "pipe.update_components(...) before attaching; blocks that only decode are guarded by "
            'guard.attach(pipe, gate="decode")'
        )


def outputs_asked_for(pipe: Any, arguments: inspect.BoundArguments) -> Callable[[Any], Any]:
    """What a call is to return, chosen from the whole state, which a modular pipeline's call now asks for instead.

    The call of another pipeline returns what it returns.
    """
    if not is_modular(pipe):
        return lambda output: output
    names = arguments.arguments.pop("output", None)
    if names is not None and not isinstance(names, str | list | tuple):
        raise InputError(f"output must be the name of something in the state, or a list of names, not {names!r}")
    return lambda state: state if names is None else state.get(names)


def named_arguments(pipe: Any, arguments: inspect.BoundArguments) -> Mapping[str, Any]:
    """A call's arguments by name; of a modular pipeline's call also those that its blocks have by default."""
    given = dict(arguments.arguments)
    if not is_modular(pipe):
        return given
    state = given.get("state")
    defaults = {name: value for name, value in pipe.default_call_parameters.items() if name is not None}
    return {**defaults, **({} if state is None else state.values), **given.get("kwargs", {})}


def require_only_pictures(arguments: inspect.BoundArguments) -> None:
    """Raise ``InputError`` for a call that asks for anything of the state but its pictures, or videos and sound."""
    asked = arguments.arguments.get("output")
    names = [asked] if isinstance(asked, str) else list(asked or ())
    if not names or names[0] not in PICTURES or not {*names} <= {*PICTURES, "audio"}:
        raise InputError(
            'at the decoder alone nothing masks the latents in a state: ask for the pictures, with output="images" or '
            'output="videos", or ["videos", "audio"]'
        )


def generated(state: Any) -> Any | None:
    """The pictures or videos in a ``PipelineState``; None where its blocks did not get that far."""
    return next((state.get(name) for name in PICTURES if state.get(name) is not None), None)
