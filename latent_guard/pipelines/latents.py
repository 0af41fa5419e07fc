"""A pipeline's latents, checked against what the guard reads: their space, their layout, and one that shows nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.errors import LatentSpaceMismatchError, UnsupportedPipelineError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.canary import Canary
from latent_guard.pipelines.families import layout_of, require_known
from latent_guard.pipelines.layouts import Layout
from latent_guard.pipelines.predictions import StepState
from latent_guard.pipelines.schedulers import require_supported
from latent_guard.pipelines.vae import gray_latent

GRAY_SIZE = 64


@dataclass(frozen=True)
class PipelineLatents:
    """How to read and write the latents of one pipeline; `neutral` (C, 1, 1) is in the pipeline's own scale."""

    space: LatentSpace
    layout: Layout
    neutral: Tensor

    def raw_estimate(self, state: StepState, call: dict[str, Any]) -> Tensor:
        """The raw clean estimate (B, C, H, W), float32, before a call of `step`."""
        output, sample = self.layout.unpack(call["model_output"]), self.layout.unpack(call["sample"])
        return self.space.to_raw(state.clean_estimate(output, sample))

    def model_output(self, state: StepState, call: dict[str, Any], rows: list[int], raw: Tensor) -> Tensor:
        """The call's model output, with that of some images changed to stand for raw clean latents (n, C, H, W)."""
        guided, sample = self.layout.unpack(call["model_output"]).clone(), self.layout.unpack(call["sample"])
        clean = self.space.from_raw(raw.to(guided.device))
        guided[rows] = state.model_output_for(clean, sample[rows]).to(guided.dtype)
        return self.layout.pack(guided)

    def forget_pushes(self, scheduler: Any, rows: list[int], raw: Tensor) -> None:
        """Have DPM-Solver++ remember the model's own raw clean estimates (n, C, H, W) of images that were pushed.

        It extrapolates from its last estimates: a remembered push would be taken for a trend, and half undone.
        """
        if type(scheduler).__name__ == "DPMSolverMultistepScheduler":
            latents = self.layout.unpack(scheduler.model_outputs[-1]).clone()
            latents[rows] = self.space.from_raw(raw).to(latents)
            scheduler.model_outputs[-1] = self.layout.pack(latents)

    def raw_final(self, state: StepState, steps: int, call: dict[str, Any], output: Any) -> tuple[Tensor, float]:
        """The raw latents (B, C, H, W), float32, that a call's last `step` amounts to, and their noise level.

        These are the ones that the pipeline decodes, at level 0; or, if it leaves the last of the scheduler's
        `steps` to a refiner, the clean estimate before this one.
        """
        if state.index < steps - 1:
            return self.raw_estimate(state, call), state.noise_level
        return self.space.to_raw(self.layout.final(output).float()), 0.0


def latents_of(pipe: Any, expected: LatentSpace, canary: Canary | None) -> PipelineLatents:
    """The latents of a pipeline that a Latent-CLIP of the space `expected` can guard; nothing is changed.

    Raises `UnsupportedPipelineError` for an unknown pipeline, scheduler or prediction type, and
    `LatentSpaceMismatchError` for another VAE.
    """
    require_known(pipe)
    require_supported(pipe.scheduler)
    if pipe.vae is None:
        if canary is not None:
            raise UnsupportedPipelineError("this pipeline has no VAE to compare with the guard's; add one")
        return PipelineLatents(expected, layout_of(pipe, expected.channels), torch.zeros(expected.channels, 1, 1))
    space = LatentSpace.of_vae(pipe.vae)
    if (space.channels, space.factor) != (expected.channels, expected.factor):
        raise LatentSpaceMismatchError(
            f"this pipeline's VAE has {space.channels} channels and factor {space.factor}, the guard reads "
            f"{expected.channels} and {expected.factor}; use a guard made for this VAE"
        )
    layout, device = layout_of(pipe, space.channels), pipe._execution_device
    if canary is not None:
        canary.check(pipe.vae, device)
    return PipelineLatents(space, layout, space.from_raw(gray_latent(pipe.vae, device, GRAY_SIZE)))
