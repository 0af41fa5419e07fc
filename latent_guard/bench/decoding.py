"""Prompts x seeds as jobs and batches; decoding what a pipeline gives, and counting what its denoiser computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.pipelines import vae
from latent_guard.pipelines.families import denoiser_of
from latent_guard.pipelines.family_table import family_of, space_of_pipeline
from latent_guard.pipelines.layouts import Layout

_SIDES = ("height", "width")


@dataclass(frozen=True)
class Job:
    """One image to make: a prompt, and the number of the image among that prompt's."""

    index: int
    row: PromptRow
    image: int = 0

    @property
    def seed(self) -> int:
        return self.row.seed + self.image


def jobs_for(rows: Sequence[PromptRow], images: int) -> list[Job]:
    """Jobs for ``images`` images: one of every prompt, then a second of every prompt, and so on."""
    return [Job(n % len(rows), rows[n % len(rows)], n // len(rows)) for n in range(images)]


def batches(jobs: Sequence[Job], size: int) -> list[list[Job]]:
    """Neighbours that share a guidance scale, at most ``size`` of them: a pipeline takes one scale a call."""
    runs = [list(group) for _, group in groupby(jobs, key=lambda job: job.row.guidance)]
    return [run[start : start + size] for run in runs for start in range(0, len(run), size)]


def decode(pipe: Any, latents: Tensor | Sequence[Tensor]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Pipeline latents (B, C, h, w) -> the same raw, and pixels (B, 3, H, W) as diffusers would round them."""
    stacked = latents if isinstance(latents, Tensor) else torch.stack(list(latents))
    raw = space_of_pipeline(pipe).to_raw(stacked)
    pixels = vae.decode(pipe.vae, raw)
    rounded = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return raw.float().cpu().numpy(), rounded.cpu().numpy()


def unpacked(pipe: Any, latents: Tensor, arguments: Mapping[str, Any]) -> Tensor:
    """What a call with these arguments returned, as (B, C, h, w): FLUX.1 packs it into tokens (B, L, 4 C)."""
    if latents.ndim != 3:
        return latents
    family = family_of(pipe)
    height, width = (arguments.get(side) or pipe.default_sample_size * pipe.vae_scale_factor for side in _SIDES)
    return Layout(pipe, family, family.space_of(pipe.vae)).of_size(height, width).unpack(latents)


@dataclass
class _Count:
    rows: int = 0


@contextmanager
def counted_rows(pipe: Any) -> Iterator[_Count]:
    """Count the rows that the denoiser computes inside the block, whoever asks for them.

    Classifier-free guidance takes two rows an image and step, in every method alike.
    """
    count = _Count()

    def note(_module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        name = "sample" if "sample" in named else "hidden_states"  # of a UNet, of a transformer
        count.rows += len(inputs[0] if inputs else named[name])

    hook = denoiser_of(pipe).register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield count
    finally:
        hook.remove()


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Have diffusers log errors only: it would say once a batch what matters nowhere here."""
    from diffusers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
