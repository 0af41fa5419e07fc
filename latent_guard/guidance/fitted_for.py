"""What a guard was fitted for: its rates were measured there, and hold nowhere else."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latent_guard.bounds import MAX_STEPS, Bounds
from latent_guard.building import build
from latent_guard.errors import FittedForOtherError, InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import read_json
from latent_guard.files.json_text import json_text
from latent_guard.fitted_guards import identity_of, is_comparable
from latent_guard.guidance.policy import OnMismatch

FITTED = "fitted.json"
STEPS, GUIDANCE = "num_inference_steps", "guidance_scale"
# Arguments that a call may change: they say what is drawn and how many, not how.
_FREE = ("self", "prompt", "num_images_per_prompt", "output_type", "return_dict", STEPS)


@dataclass(frozen=True)
class FittedFor:
    """The pipeline, its schedule and the arguments of the generations that a guard was fitted on.

    Attributes:
        pipeline: folder, hub id or short name, as the user gave it.
        pipeline_class: name of its class.
        identity: as ``fitted_guards.identity_of`` has it; empty of a pipeline that was made in memory.
        scheduler: name of its class.
        scheduler_config: its settings, of plain values.
        steps: ``num_inference_steps``.
        arguments: of the pipeline's call, of plain values; the guidance scale among them.
        window: (highest, lowest) noise level of the checks.
    """

    pipeline: str
    pipeline_class: str
    identity: str
    scheduler: str
    scheduler_config: Mapping[str, object]
    steps: int
    arguments: Mapping[str, object]
    window: tuple[float, float]

    def __post_init__(self) -> None:
        Bounds(1, MAX_STEPS, whole=True).check("fitted: steps", self.steps)
        for level in self.window:
            Bounds(0, 1).check("fitted: window", level)
        for name, value in (*self.arguments.items(), *self.scheduler_config.items()):
            if not _is_plain(value):
                raise InputError(f"fitted: {name} must be a number, a text, a truth value or a list of such")

    @classmethod
    def of(cls, pipe: Any, pipeline: str, arguments: Mapping[str, Any], window: tuple[float, float]) -> FittedFor:
        """Of a pipeline that is called with these arguments; ``pipeline`` is what the user calls it."""
        chosen = {name: value for name, value in arguments.items() if name not in _FREE and _is_plain(value)}
        scale = _asked(pipe, arguments, GUIDANCE)
        return cls(
            pipeline=pipeline,
            pipeline_class=type(pipe).__name__,
            identity=_identity(pipe),
            scheduler=type(pipe.scheduler).__name__,
            scheduler_config=_settings(pipe.scheduler),
            steps=_steps(pipe, arguments),
            arguments={**({} if scale is None else {GUIDANCE: scale}), **chosen},
            window=window,
        )

    @property
    def call(self) -> dict[str, object]:
        """The arguments that a pipeline is called with, steps included, so that nothing differs."""
        return {STEPS: self.steps, **self.arguments}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON takes it."""
        return {**asdict(self), "window": list(self.window)}

    @classmethod
    def from_dict(cls, data: Any, where: str = FITTED) -> FittedFor:
        """The opposite of ``to_dict``; ``InputError``, which names ``where``, for anything else."""
        return build(cls, data, where)

    def save(self, folder: Path) -> None:
        """Write ``fitted.json`` into a guard's folder."""
        write_atomic(folder / FITTED, (json_text(self.to_dict(), 1) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> FittedFor:
        """Read what ``save`` wrote; ``InputError`` if it cannot be read."""
        return cls.from_dict(read_json(folder / FITTED, "what the guard was fitted for"), str(folder / FITTED))


def mismatches(fitted: FittedFor, pipe: Any, arguments: Mapping[str, Any]) -> list[str]:
    """A line for everything in which a pipeline and its call differ from what a guard was fitted for."""
    return [*_of_pipeline(fitted, pipe), *_of_call(fitted, pipe, arguments)]


class MismatchWatch:
    """Acts on what differs, as the policies say, once each for one attachment."""

    def __init__(self, fitted: FittedFor | None, on_mismatch: OnMismatch) -> None:
        self._fitted, self._on_mismatch = fitted, on_mismatch
        self._said: set[str] = set()

    def pipeline(self, pipe: Any) -> None:
        """Look at a pipeline; warns, or raises ``FittedForOtherError``, if it is another."""
        if self._fitted is not None:
            self._act(self._fitted, _of_pipeline(self._fitted, pipe))

    def call(self, pipe: Any, arguments: Mapping[str, Any]) -> None:
        """Look at the arguments of a call that is about to be made; as ``pipeline``."""
        if self._fitted is not None:
            self._act(self._fitted, _of_call(self._fitted, pipe, arguments))

    def schedule(self, pipe: Any) -> None:
        """Look at the number of steps that a pipeline's scheduler is set to; as ``pipeline``."""
        steps = getattr(pipe.scheduler, STEPS, None)
        if self._fitted is not None and steps is not None and steps != self._fitted.steps:
            self._act(self._fitted, [_differs(STEPS, steps, self._fitted.steps)])

    def _act(self, fitted: FittedFor, found: list[str]) -> None:
        new = [line for line in found if line not in self._said]
        if not new:
            return
        message = (
            f"this guard was fitted for {fitted.pipeline} called otherwise: {'; '.join(new)}; its rates do not hold "
            f"here: call the pipeline as then, or fit a guard to this call (`latent-guard fit {fitted.pipeline} "
            "--refresh`)"
        )
        if self._on_mismatch == "refuse":
            raise FittedForOtherError(message)
        self._said.update(new)
        warnings.warn(message, stacklevel=4)


def _of_pipeline(fitted: FittedFor, pipe: Any) -> list[str]:
    scheduler = type(pipe.scheduler).__name__
    found = []
    if type(pipe).__name__ != fitted.pipeline_class:
        found.append(_differs("the pipeline's class", type(pipe).__name__, fitted.pipeline_class))
    elif is_comparable(own := _identity(pipe), fitted.identity) and own != fitted.identity:
        found.append(f"the pipeline is another ({pipe.config._name_or_path})")
    if scheduler != fitted.scheduler:
        return [*found, _differs("the scheduler", scheduler, fitted.scheduler)]
    own_settings = _settings(pipe.scheduler)
    for name, value in fitted.scheduler_config.items():
        if name in own_settings and own_settings[name] != value:
            found.append(_differs(f"the scheduler's {name}", own_settings[name], value))
    return found


def _of_call(fitted: FittedFor, pipe: Any, arguments: Mapping[str, Any]) -> list[str]:
    steps = _steps(pipe, arguments)
    found = [] if steps == fitted.steps else [_differs(STEPS, steps, fitted.steps)]
    for name, value in fitted.arguments.items():
        asked = _asked(pipe, arguments, name)
        if not _is_plain(asked):
            found.append(_differs(name, f"a {type(asked).__name__}", value))
        elif asked != value:
            found.append(_differs(name, asked, value))
    return found


def _differs(what: str, found: object, fitted: object) -> str:
    return f"{what} is {found}, not {fitted}"


def _asked(pipe: Any, arguments: Mapping[str, Any], name: str) -> Any:
    """An argument as a call has it: given, or by default; None where there is no such argument."""
    if name in arguments:
        return arguments[name]
    parameter = inspect.signature(type(pipe).__call__).parameters.get(name)
    return None if parameter is None or parameter.default is inspect.Parameter.empty else parameter.default


def _steps(pipe: Any, arguments: Mapping[str, Any]) -> Any:
    for own_schedule in ("timesteps", "sigmas"):
        if (listed := arguments.get(own_schedule)) is not None:
            return len(listed)
    steps = _asked(pipe, arguments, STEPS)
    return None if steps is None else int(steps)


def _identity(pipe: Any) -> str:
    try:
        return identity_of(str(getattr(pipe.config, "_name_or_path", None) or ""))
    except (InputError, OSError):  # its folder changed since it was loaded: nothing can be said
        return ""


def _settings(scheduler: Any) -> dict[str, object]:
    """Of a scheduler, all that is plain; what begins with ``_`` is diffusers' own."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in scheduler.config.items()}
    return {name: value for name, value in plain.items() if not name.startswith("_") and _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str)
