"""Proofs that nothing of what is blocked leaves a pipeline, and nothing that was not judged."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_guard.conformance.harness import ALWAYS, NEVER, Call, decoded_by, known_guard, tolerance, usual_policy
from latent_guard.conformance.known import KnownLatentCLIP
from latent_guard.errors import GuardError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import BLOCK
from latent_guard.guidance.verdict import Decision
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.latents import Decodes
from latent_guard.pipelines.modular import generated, is_modular
from latent_guard.pipelines.vae import first_of_the_decoder


def blocked_images_are_decoded_from_gray(pipe: Any, call: Call) -> str:
    """No pixel of a blocked image is made."""
    gray = Decodes.of(pipe, LatentSpace.of_vae(pipe.vae), None).neutral_raw
    with decoded_by(pipe) as given, known_guard(pipe, ALWAYS, BLOCK).attach(pipe) as watch:
        call(pipe)
    if {verdict.decision for verdict in watch.verdicts} != {Decision.BLOCKED}:
        return f"decisions were {[verdict.decision.value for verdict in watch.verdicts]}"
    raw = torch.cat(given)
    error = float((raw - gray.to(raw)).abs().max() / (1 + raw.abs().max()))
    return "" if error < 10 * tolerance(pipe) else f"what was decoded differs from gray by {error:.2g}"


def nothing_else_shows_blocked_images(pipe: Any, call: Call) -> str:
    """Neither a callback after the last step nor a modular pipeline's state shows them."""
    guard = known_guard(pipe, ALWAYS, replace(BLOCK, abort_margin=None))
    if is_modular(pipe):
        plain = call(pipe, output=None)
        with guard.attach(pipe):
            state = call(pipe, output=None)
        made = [plain.get("latents"), generated(plain)]
        shown = [name for name, value in state.values.items() if any(_is(value, own) for own in made)]
        return f"they are in the state, as {shown[0]}" if shown else ""
    if not _calls_back(pipe):
        return ""
    plain_latents = _last_called_back(pipe, call)
    with guard.attach(pipe):
        latents = _last_called_back(pipe, call)
    shown = [torch.allclose(own, other) for own, other in zip(plain_latents, latents, strict=True)]
    return "a callback sees their latents" if any(shown) else ""


def _last_called_back(pipe: Any, call: Call) -> Tensor:
    """What a callback on the last step is given."""
    seen: list[Tensor] = []

    def callback(pipe: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        seen[:] = [values["latents"].clone()]
        return {}

    call(pipe, callback_on_step_end=callback)
    return seen[0]


def _is(value: Any, made: Any) -> bool:
    """True for the same array or tensor."""
    if not isinstance(value, (Tensor, np.ndarray)) or type(value) is not type(made) or value.shape != made.shape:
        return False
    return bool(np.allclose(torch.as_tensor(value).float(), torch.as_tensor(made).float()))


def failures_and_exchanges_end_the_call(pipe: Any, call: Call) -> str:
    """The call ends where the guard fails, a part that it watches is exchanged, or the loop is interrupted."""
    broken = KnownLatentCLIP(LatentSpace.of_vae(pipe.vae), ValueError("out of order"))
    if not _ends(pipe, call, known_guard(pipe, NEVER, usual_policy(pipe), broken)):
        return "images were handed out though the guard had failed"
    for name in ("scheduler", "vae"):
        if not _ends_as_it_is_exchanged(pipe, call, name):
            return f"images were handed out though the {name} had been exchanged"
    return "" if _ends_as_it_is_interrupted(pipe, call) else "images of a call that was interrupted were handed out"


def _ends_as_it_is_exchanged(pipe: Any, call: Call, name: str) -> bool:
    own = getattr(pipe, name)
    # A copy of a scheduler would take the guard along.
    other = type(own).from_config(own.config) if name == "scheduler" else copy.copy(own)

    def exchange(*_: Any) -> None:
        setattr(pipe, name, other)

    handle = first_of_the_decoder(pipe.vae).register_forward_pre_hook(exchange)
    try:
        return _ends(pipe, call, known_guard(pipe, NEVER, usual_policy(pipe)))
    finally:
        handle.remove()
        setattr(pipe, name, own)


def _ends_as_it_is_interrupted(pipe: Any, call: Call) -> bool:
    """True too for a pipeline that cannot be, or goes on however it is asked."""
    if not (_calls_back(pipe) and hasattr(pipe, "_interrupt")):
        return True
    steps = 0

    def interrupt(pipe: Any, *_: Any) -> dict[str, Any]:
        nonlocal steps
        steps += 1
        pipe._interrupt = True
        return {}

    return _ends(pipe, call, known_guard(pipe, NEVER, usual_policy(pipe)), interrupt) or steps > 1


def _calls_back(pipe: Any) -> bool:
    return "callback_on_step_end" in inspect.signature(type(pipe).__call__).parameters


def _ends(pipe: Any, call: Call, guard: LatentGuard, callback: Callable[..., Any] | None = None) -> bool:
    changes = {} if callback is None else {"callback_on_step_end": callback}
    try:
        with guard.attach(pipe):
            call(pipe, **changes)
    except GuardError:
        return True
    return False


def afterwards_the_pipeline_is_as_before(pipe: Any, call: Call) -> str:
    """Nothing of the guard is left in the pipeline."""
    before = call(pipe)
    with known_guard(pipe, ALWAYS, BLOCK).attach(pipe):
        call(pipe)
    if "step" in vars(pipe.scheduler) or "decode" in vars(pipe.vae):
        return "scheduler or VAE were left changed"
    return "" if np.array_equal(before, call(pipe)) else "the images are others"
