"""One step of a pipeline's scheduler, read and written in raw latents: the one place that knows how.

Behind it are schedulers and their predictions, layouts, latent spaces and scales, and what a solver remembers.

Shapes: B images, C latent channels, H and W latent positions; of videos T latent frames stand before H.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from latent_guard.pipelines.call_steps import first_step, last_step
from latent_guard.pipelines.hook import around_step
from latent_guard.pipelines.latents import PipelineLatents, spread
from latent_guard.pipelines.schedulers import last_index, memory_of_estimates, read_step

_OWN_ESTIMATE = "old_pred_original_sample"  # of CogVideoX's DPM solver
Perturb = Callable[[Tensor, float], Tensor]  # raw clean estimates (B, C, H, W), noise level -> what to go on with


class DenoisingStep:
    """A call of ``scheduler.step`` that is about to be made, and then what it returned.

    Attributes:
        index: the step's place in ``scheduler.timesteps``.
        remaining: how many steps the pipeline's call has left, this one included.
        noise_level: sigma / (sigma + signal) of the noisy latents: 0 if they are clean, 1 for pure noise.
        images: B.
    """

    def __init__(
        self, latents: PipelineLatents, scheduler: Any, call: inspect.BoundArguments, *, in_pipeline: bool = True
    ) -> None:
        """Read a bound call of ``scheduler.step``; ``in_pipeline``: made by the pipeline's own call, not a loop.

        Raises:
            GuardError: the scheduler is at no step that is known, or the call has an argument that is not supported.
        """
        pipe = latents.layout.pipe
        first = first_step(pipe) if in_pipeline else None
        arguments = {name: value for name, value in call.arguments.items() if name != "self"}
        self._state = read_step(scheduler, first_index=first, **arguments)
        self._latents = latents
        self._scheduler = scheduler
        self._arguments = call.arguments
        self._own: tuple[list[int], Tensor] | None = None  # images given other estimates, and the model's own
        self.index = self._state.index
        self.noise_level = self._state.noise_level
        self.remaining = last_step(pipe) + 1 - self.index
        self.images = latents.layout.images(call.arguments["sample"])
        latents.layout.stepped = call.arguments["sample"].shape

    @property
    def is_last(self) -> bool:
        """True for the last step of the pipeline's call."""
        return self.remaining == 1

    def clean(self) -> Tensor:
        """The raw clean estimate (B, C, H, W), float32, that the step goes on from; differentiable."""
        unpack = self._latents.layout.unpack
        output = unpack(self._arguments["model_output"])
        sample = unpack(self._arguments["sample"])
        return self._latents.space.to_raw(self._state.clean_estimate(output, sample))

    def with_clean(self, rows: Sequence[int], raw: Tensor, *, remembered: bool = False) -> None:
        """Have the step go on from other raw clean latents (n, C, H, W) of some images.

        A solver that extrapolates from its last estimates would take a guidance step for a trend, and undo half of it:
        so it remembers the model's own ones, unless the new ones are to be ``remembered``.
        """
        layout = self._latents.layout
        images = list(rows)
        if not remembered and memory_of_estimates(self._scheduler) is not None:
            self._own = images, self.clean()[images]
        output = layout.unpack(self._arguments["model_output"]).clone()
        sample = layout.unpack(self._arguments["sample"])
        clean = self._latents.space.from_raw(raw.to(output.device))
        if self._state.idle:  # the sample is what it returns
            sample = sample.clone()
            sample[images] += clean - self._state.clean_estimate(output[images], sample[images])
            self._arguments["sample"] = layout.pack(sample)
            return
        output[images] = self._state.model_output_for(clean, sample[images]).to(output.dtype)
        self._arguments["model_output"] = layout.pack(output)

    def restore_memory(self) -> None:
        """After the step was made, have the solver remember what ``with_clean`` says that it should."""
        if self._own is None:
            return
        (rows, raw) = self._own
        layout = self._latents.layout
        memory: Any = memory_of_estimates(self._scheduler)
        estimates = layout.unpack(memory[-1]).clone()
        estimates[rows] = self._latents.space.from_raw(raw).to(estimates)
        memory[-1] = layout.pack(estimates)
        self._own = None

    def final(self, output: Any) -> tuple[Tensor, float]:
        """The raw latents (B, C, H, W), float32, that a call's last step amounts to, and their noise level.

        These are the ones that the pipeline decodes, at level 0; or, if it leaves the last of the scheduler's steps
        to a refiner, the clean estimate before this one.
        """
        if self.index < last_index(self._scheduler):
            return self.clean(), self.noise_level
        return self._latents.space.to_raw(self._latents.layout.final(output).float()), 0.0

    def blank(self, rows: Tensor, output: Any) -> Any:
        """What the step returned, with the neutral latent in the place of some images (B,), bool.

        Every tensor of the latents' shape that the scheduler keeps, alone or in a list, is treated alike: the memory
        of a multistep solver holds clean estimates.
        """
        layout = self._latents.layout
        neutral = self._latents.neutral
        shape = output[0].shape

        def blanked(value: Any) -> Any:
            if isinstance(value, list):
                return [blanked(item) for item in value]
            if not isinstance(value, Tensor) or value.shape != shape:
                return value
            latents = layout.unpack(value).clone()
            latents[rows.to(latents.device)] = spread(neutral, latents)
            return layout.pack(latents)

        layout.mask_images(rows)
        for name, value in vars(self._scheduler).items():
            if isinstance(value, (list, Tensor)):
                setattr(self._scheduler, name, blanked(value))
        return _mapped(output, blanked)

    def without_estimates(self, output: Any) -> Any:
        """What the step returned, without what it says about the clean latents before these have been judged.

        Pipelines go on from the first thing that a step returns; of the others, a callback sees those of LCM. A solver
        that takes its last estimate as an argument gets it back: its pipeline shows it to nobody.
        """
        if _OWN_ESTIMATE in self._arguments:
            return output
        layout = self._latents.layout
        neutral = self._latents.neutral
        following = output[0]

        def blanked(value: Any) -> Any:
            if value is following or not isinstance(value, Tensor) or value.shape != following.shape:
                return value
            latents = layout.unpack(value)
            return layout.pack(spread(neutral, latents).expand_as(latents).clone())

        return _mapped(output, blanked)


def _mapped(output: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(output, tuple):
        return tuple(change(value) for value in output)
    return type(output)(**{name: change(value) for name, value in output.items()})


@contextmanager
def clean_estimates(
    latents: PipelineLatents,
    wanted: Callable[[float], bool] = lambda _: True,
    perturb: Perturb | None = None,
    made_into: Callable[[Tensor, float], Tensor] = lambda raw, _: raw,
) -> Iterator[list[tuple[float, Tensor]]]:
    """The block in which a pipeline's calls leave what they estimate in the list that the block is given.

    Its entries are a noise level and what ``made_into`` makes, at once, of raw latents (B, C, H, W) at that level; by
    default these themselves, differentiable: the clean estimate of every step whose level is ``wanted``, as it was
    before ``perturb`` changed it, and what the last step amounts to.
    """
    kept: list[tuple[float, Tensor]] = []

    def follow(scheduler: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
        step = DenoisingStep(latents, scheduler, call)
        if wanted(step.noise_level):
            raw = step.clean()
            kept.append((step.noise_level, made_into(raw, step.noise_level)))
            if perturb is not None:
                step.with_clean(range(step.images), perturb(raw, step.noise_level), remembered=True)
        output = original(*call.args, **call.kwargs)
        if step.is_last:
            raw, level = step.final(output)
            kept.append((level, made_into(raw, level)))
        return output

    with around_step(latents.layout.pipe.scheduler, follow), latents.layout.following():
        yield kept
