"""A pipeline's latents, checked against what a Latent-CLIP reads: space, layout, and a latent that shows nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.errors import LatentSpaceMismatchError, UnsupportedPipelineError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.canary import Canary
from latent_guard.pipelines.families import Family
from latent_guard.pipelines.family_table import family_of
from latent_guard.pipelines.layouts import Layout
from latent_guard.pipelines.modular import is_modular, require_loaded
from latent_guard.pipelines.schedulers import require_supported
from latent_guard.pipelines.tiny_vae import is_tiny, tiny_space
from latent_guard.pipelines.vae import device_of, gray_latent

GRAY_SIZE = 64  # pixels


def spread(neutral: Tensor, latents: Tensor) -> Tensor:
    """The latent of mid-gray (C, 1, 1) such that it can stand anywhere in some (B, C, H, W) or (B, C, T, H, W)."""
    return neutral.to(latents).reshape(-1, *(1,) * (latents.ndim - 2))


@dataclass(frozen=True)
class PipelineLatents:
    """How to read and write the latents of one pipeline, and the latent of mid-gray.

    Attributes:
        space: of the pipeline's latents.
        layout: of these in ``scheduler.step``.
        neutral_raw: (C, 1, 1), raw.
        decodes: the space whose raw latents ``vae.decode`` takes: the same, unless a tiny autoencoder took the place of
            the VAE, which decodes the pipeline's latents as they are.
    """

    space: LatentSpace
    layout: Layout
    neutral_raw: Tensor
    decodes: LatentSpace

    @classmethod
    def of(cls, pipe: Any, expected: LatentSpace, canary: Canary | None) -> PipelineLatents:
        """The latents of a pipeline that a Latent-CLIP of the space ``expected`` can read; nothing is changed.

        Raises:
            UnsupportedPipelineError: an unknown pipeline, scheduler or prediction type.
            LatentSpaceMismatchError: another VAE.
        """
        family = family_of(pipe)
        if is_modular(pipe):
            require_loaded(pipe)
        require_supported(pipe.scheduler)
        if pipe.vae is None:
            if canary is not None:
                raise UnsupportedPipelineError("this pipeline has no VAE to compare with the guard's; add one")
            family.require_readable(pipe, expected)
            return cls(expected, Layout(pipe, family, expected), torch.zeros(expected.channels, 1, 1), expected)
        if is_tiny(pipe.vae):
            return cls._with_tiny(pipe, family, expected, canary)
        space = family.space_of(pipe.vae)
        _require_same_size(space, expected)
        family.require_readable(pipe, space)
        device = device_of(pipe)
        if canary is not None:
            canary.check(pipe.vae, device)
        return cls(space, Layout(pipe, family, space), gray_latent(pipe.vae, device, GRAY_SIZE), space)

    @classmethod
    def _with_tiny(cls, pipe: Any, family: Family, expected: LatentSpace, canary: Canary | None) -> PipelineLatents:
        """The latents of a pipeline whose VAE a tiny autoencoder replaced: of the space that its denoiser works in.

        Which that is, only the guard can know, so that its canary must be decoded to its picture.
        """
        if canary is None:
            raise UnsupportedPipelineError("with a tiny autoencoder only a guard that has a canary can be attached")
        space = family.applied(expected)
        if space.patch > 1 or space.mean:
            raise UnsupportedPipelineError(f"no tiny autoencoder is known for the latents of {expected}; use its VAE")
        decodes = family.applied(tiny_space(pipe.vae))
        _require_same_size(decodes, expected)
        family.require_readable(pipe, space)
        device = device_of(pipe)
        canary.check_decoded(pipe.vae, decodes.to_raw(space.from_raw(canary.latent)), device)
        gray = space.to_raw(decodes.from_raw(gray_latent(pipe.vae, device, GRAY_SIZE)))
        return cls(space, Layout(pipe, family, space), gray, decodes)

    def decoded_to_raw(self, given: Tensor) -> Tensor:
        """What ``vae.decode`` is given, (B, C, H, W), as raw latents."""
        return given if self.decodes is self.space else self.space.to_raw(self.decodes.from_raw(given))

    @property
    def neutral_decoded(self) -> Tensor:
        """The latent of mid-gray as ``vae.decode`` takes it, (C, 1, 1)."""
        if self.decodes is self.space:
            return self.neutral_raw
        return self.decodes.to_raw(self.space.from_raw(self.neutral_raw[None]))[0]

    @property
    def neutral(self) -> Tensor:
        """The latent of mid-gray in the pipeline's own scale, (C p p, 1, 1) for a space with patches of p x p."""
        p = self.space.patch
        return self.space.from_raw(self.neutral_raw.expand(1, -1, p, p))[0]


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
        if is_tiny(vae):
            raise UnsupportedPipelineError(
                "at the decoder alone an AutoencoderTiny does not say which latents it decodes; use the VAE, or attach "
                "at the steps too"
            )
        _require_same_size(LatentSpace.of_vae(vae), expected)
        device = device_of(pipe)
        if canary is not None:
            canary.check(vae, device)
        return cls(pipe, gray_latent(vae, device, GRAY_SIZE))


def _require_same_size(space: LatentSpace, expected: LatentSpace) -> None:
    if (space.channels, space.factor) != (expected.channels, expected.factor):
        raise LatentSpaceMismatchError(
            f"this pipeline's VAE has {space.channels} channels and factor {space.factor}, the guard reads "
            f"{expected.channels} and {expected.factor}; use a guard made for this VAE"
        )
