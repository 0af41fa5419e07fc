"""A pipeline's latents, checked against what a Latent-CLIP reads: space, layout, and a latent that shows nothing."""

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
from latent_guard.pipelines.schedulers import require_supported
from latent_guard.pipelines.vae import gray_latent

GRAY_SIZE = 64  # pixels


@dataclass(frozen=True)
class PipelineLatents:
    """How to read and write the latents of one pipeline; ``neutral`` (C, 1, 1) is in the pipeline's own scale."""

    space: LatentSpace
    layout: Layout
    neutral: Tensor

    @classmethod
    def of(cls, pipe: Any, expected: LatentSpace, canary: Canary | None) -> PipelineLatents:
        """The latents of a pipeline that a Latent-CLIP of the space ``expected`` can read; nothing is changed.

        Raises:
            UnsupportedPipelineError: an unknown pipeline, scheduler or prediction type.
            LatentSpaceMismatchError: another VAE.
        """
        require_known(pipe)
        require_supported(pipe.scheduler)
        if pipe.vae is None:
            if canary is not None:
                raise UnsupportedPipelineError("this pipeline has no VAE to compare with the guard's; add one")
            return cls(expected, layout_of(pipe, expected.channels), torch.zeros(expected.channels, 1, 1))
        space = LatentSpace.of_vae(pipe.vae)
        if (space.channels, space.factor) != (expected.channels, expected.factor):
            raise LatentSpaceMismatchError(
                f"this pipeline's VAE has {space.channels} channels and factor {space.factor}, the guard reads "
                f"{expected.channels} and {expected.factor}; use a guard made for this VAE"
            )
        layout = layout_of(pipe, space.channels)
        device = pipe._execution_device
        if canary is not None:
            canary.check(pipe.vae, device)
        return cls(space, layout, space.from_raw(gray_latent(pipe.vae, device, GRAY_SIZE)))
