"""The same pipeline and guard in latents of another scale: raw latents times a factor, and all that reads them after.

A VAE whose raw latents are multiplied is the same VAE of the same pictures: its decoder divides them again, and in the
pipeline's own scale nothing changes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.canary import Canary

Factors = Sequence[float]  # over 0, of each channel of raw latents


def rescaled(pipe: Any, factors: Factors) -> Any:
    """A copy of a pipeline, with all models but the VAE shared, whose raw latents are multiplied.

    Raises:
        UnsupportedPipelineError: its VAE is not an ``AutoencoderKL``.
        InputError: factors that differ, in a space without a mean and a deviation for each channel.
    """
    space = rescaled_space(space_of(pipe), factors)
    vae = _rescaled_vae(pipe.vae, torch.tensor(factors))
    by_channel = {"latents_mean": list(space.mean), "latents_std": list(space.std)} if space.std else {}
    shift = None if vae.config.shift_factor is None else space.shift_factor  # pipelines that add it want a number
    vae.register_to_config(scaling_factor=space.scaling_factor, shift_factor=shift, **by_channel)
    twin = copy.copy(pipe)
    twin.vae = vae
    return twin


def rescaled_guard(guard: LatentGuard, space: LatentSpace, factors: Factors) -> LatentGuard:
    """The same guard, of a pipeline whose raw latents, of ``space``, are multiplied.

    What it was fitted for is left out: it is of the pipeline with its own VAE.
    """
    by_channel = torch.tensor(factors)
    model = _rescaled_latent_clip(guard.model, rescaled_space(space, factors), by_channel)
    bank = replace(guard.bank, fingerprint=model.fingerprint())  # the text tower is the same, so are embeddings
    canary = guard.canary and Canary(guard.canary.picture, guard.canary.latent * by_channel[:, None, None])
    return LatentGuard(model, bank, guard.policies, canary)


def rescaled_space(space: LatentSpace, factors: Factors) -> LatentSpace:
    """The space of raw latents that are multiplied; normalised latents are the same.

    Raises:
        InputError: factors that differ, in a space without a mean and a deviation for each channel.
    """
    shift = space.shift_factor
    if space.std:
        each = [factor for factor in factors for _ in range(space.patch**2)]  # in the order of pixel_unshuffle
        mean = [(value + shift) * factor - shift for value, factor in zip(space.mean, each, strict=True)]
        return replace(space, mean=mean, std=[value * factor for value, factor in zip(space.std, each, strict=True)])
    if len(set(factors)) > 1:
        raise InputError(f"{space} has one scale for all channels; give all of them the same factor")
    return replace(space, scaling_factor=space.scaling_factor / factors[0], shift_factor=shift * factors[0])


def space_of(pipe: Any) -> LatentSpace:
    """The latent space of a pipeline that ``rescaled`` takes.

    Raises:
        UnsupportedPipelineError: its VAE is not an ``AutoencoderKL``.
    """
    kind = type(pipe.vae).__name__
    if kind != "AutoencoderKL":
        raise UnsupportedPipelineError(f"the VAE is a {kind}; only the latents of an AutoencoderKL can be rescaled")
    return LatentSpace.of_vae(pipe.vae)


@torch.no_grad()
def _rescaled_vae(vae: Any, factors: Tensor) -> Any:
    """A copy of a VAE whose posterior has each channel's mean and deviation times its factor."""
    vae = copy.deepcopy(vae)
    last = vae.quant_conv or vae.encoder.conv_out  # SD3 and FLUX have no convolutions between
    first = vae.post_quant_conv or vae.decoder.conv_in
    factors = factors.to(last.weight)
    channels = len(factors)
    last.weight[:channels] *= factors[:, None, None, None]
    last.bias[:channels] *= factors
    last.bias[channels:] += 2 * factors.log()  # of the log variances
    first.weight /= factors[:, None, None]
    return vae


@torch.no_grad()
def _rescaled_latent_clip(model: LatentCLIP, space: LatentSpace, factors: Tensor) -> LatentCLIP:
    """A copy of a Latent-CLIP that says of multiplied latents, of ``space``, what the model says of the latents."""
    adapter = model.config.adapter and replace(model.config.adapter, reads=space)
    first = ["visual.conv1.weight"]
    if adapter is not None:
        first = ["adapter.linear.weight", *(["adapter.residual.0.weight"] if adapter.width else [])]
        factors = factors.repeat_interleave(adapter.downscale**2)  # in the order of pixel_unshuffle
    weights = dict(model.state_dict())
    for name in first:
        weights[name] = weights[name].clone()
        weights[name][:, : len(factors)] /= factors.to(weights[name])[:, None, None]  # the noise level comes after
    config = replace(model.config, latent_space=space, adapter=adapter)
    twin = LatentCLIP(config, model.tokenizer).to(model.logit_scale)
    twin.load_state_dict(weights)
    return twin
