"""A pipeline's latents, checked against what a Latent-CLIP reads: space, layout, and a latent that shows nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.errors import LatentSpaceMismatchError, UnsupportedPipelineError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.canary import Canary
from latent_guard.pipelines.family_table import family_of
from latent_guard.pipelines.layouts import Layout
from latent_guard.pipelines.schedulers import require_supported
from latent_guard.pipelines.vae import gray_latent

GRAY_SIZE = 64  # pixels


@dataclass(frozen=True)
class PipelineLatents:
    """How to read and write the latents of one pipeline, and the latent of mid-gray.

    Attributes:
        space: of the pipeline's latents.
        layout: of these in ``scheduler.step``.
        neutral_raw: (C, 1, 1), raw.
    """

    space: LatentSpace
    layout: Layout
    neutral_raw: Tensor

    @classmethod
    def of(cls, pipe: Any, expected: LatentSpace, canary: Canary | None) -> PipelineLatents:
        """The latents of a pipeline that a Latent-CLIP of the space ``expected`` can read; nothing is changed.

        Raises:
            UnsupportedPipelineError: an unknown pipeline, scheduler or prediction type.
            LatentSpaceMismatchError: another VAE.
        """
        family = family_of(pipe)
        require_supported(pipe.scheduler)
        if pipe.vae is None:
            if canary is not None:
                raise UnsupportedPipelineError("this pipeline has no VAE to compare with the guard's; add one")
            family.require_readable(pipe, expected)
            return cls(expected, Layout(pipe, family, expected), torch.zeros(expected.channels, 1, 1))
        space = family.space_of(pipe.vae)
        _require_same_size(space, expected)
        family.require_readable(pipe, space)
        device = pipe._execution_device
        if canary is not None:
            canary.check(pipe.vae, device)
        return cls(space, Layout(pipe, family, space), gray_latent(pipe.vae, device, GRAY_SIZE))

    @property
    def neutral(self) -> Tensor:
        """The latent of mid-gray in the pipeline's own scale, (C p p, 1, 1) for a space with patches of p x p."""
        p = self.space.patch
        return self.space.from_raw(self.neutral_raw.expand(-1, p, p))


@dataclass(frozen=True)
class Decodes:
    """What a pipeline decodes, whatever its steps: raw latents of its VAE, of which ``neutral_raw`` is mid-gray's."""

    pipe: Any
    neutral_raw: Tensor

    @classmethod
    def of(cls, pipe: Any, expected: LatentSpace, canary: Canary | None) -> Decodes:
        """What is decoded by a pipeline whose latents a Latent-CLIP of the space ``expected`` can read.

        Raises:
            UnsupportedPipelineError: it has no VAE of a known class.
            LatentSpaceMismatchError: another VAE.
        """
        vae = getattr(pipe, "vae", None)
        if vae is None:
            raise UnsupportedPipelineError(f"{type(pipe).__name__} has no VAE, so there is no decoder to guard")
        _require_same_size(LatentSpace.of_vae(vae), expected)
        device = pipe._execution_device
        if canary is not None:
            canary.check(vae, device)
        return cls(pipe, gray_latent(vae, device, GRAY_SIZE))


def _require_same_size(space: LatentSpace, expected: LatentSpace) -> None:
    if (space.channels, space.factor) != (expected.channels, expected.factor):
        raise LatentSpaceMismatchError(
            f"this pipeline's VAE has {space.channels} channels and factor {space.factor}, the guard reads "
            f"{expected.channels} and {expected.factor}; use a guard made for this VAE"
        )
