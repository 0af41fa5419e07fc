"""Taking withheld images out of what a step returns, and out of the scheduler's memory of it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from latent_guard.pipelines.latents import PipelineLatents


def without(withheld: Tensor, pipeline: PipelineLatents, scheduler: Any, output: Any) -> Any:
    """A step's `output` with the neutral latent in the place of the withheld images (B,).

    Every tensor of the latents' shape that the scheduler keeps, alone or in a list, is treated alike: the history of
    a multistep solver holds clean estimates.
    """
    layout, neutral, shape = pipeline.layout, pipeline.neutral, output[0].shape

    def blank(value: Any) -> Any:
        if isinstance(value, list):
            return [blank(item) for item in value]
        if not isinstance(value, Tensor) or value.shape != shape:
            return value
        latents = layout.unpack(value).clone()
        latents[withheld.to(latents.device)] = neutral.to(latents)
        return layout.pack(latents)

    layout.withhold(withheld)
    for name, value in vars(scheduler).items():
        if isinstance(value, (list, Tensor)):
            setattr(scheduler, name, blank(value))
    return _mapped(output, blank)


def without_estimates(pipeline: PipelineLatents, output: Any) -> Any:
    """A step's `output` without what it says about the clean latents, before these have been judged.

    Pipelines go on from the first thing that a step returns; of the others, a callback sees those of LCM.
    """
    following, shape = output[0], output[0].shape

    def blank(value: Any) -> Any:
        if value is following or not isinstance(value, Tensor) or value.shape != shape:
            return value
        layout = pipeline.layout
        return layout.pack(pipeline.neutral.to(value).expand_as(layout.unpack(value)).clone())

    return _mapped(output, blank)


def _mapped(output: Any, change: Any) -> Any:
    if isinstance(output, tuple):
        return tuple(change(value) for value in output)
    return type(output)(**{name: change(value) for name, value in output.items()})
