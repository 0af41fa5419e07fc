"""Noise optimisation of SDXL-Turbo at 512 px: a reward that reads latents against one that needs pixels."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.full_size.generations import START_S
from benchmarks.full_size.record import Line, line_of
from benchmarks.full_size.rounds import Clock, in_rounds, timed, without
from benchmarks.full_size.sizes import Shape, Sizes
from benchmarks.published import FACTOR
from latent_guard.reno.optimise import RenoSettings, optimise_noise
from latent_guard.reno.rewards import Reward

sys.path.append(str(Path(__file__).parents[1]))  # scripts there import one another by their bare names
from reno_parts import RenoParts

MODEL = "SDXL-Turbo, ReNO"
OURS, THEIRS = "Latent-ViT B/8", "pixel CLIP B/32"
WARM_UP = 2  # iterations: the last draw has no way back


def measured(sizes: Sizes, device: str, dtype: torch.dtype, clock: Clock) -> Iterator[Line]:
    """A line of each reward, both against the one that reads pixels.

    Raises:
        OutOfTimeError: a run of each takes longer than is left.
    """
    clock.require(START_S)
    parts = RenoParts(device, dtype, sizes.miniature)
    parts.pipe.set_progress_bar_config(disable=True)
    rewards = {name: parts.reward(name) for name in (OURS, THEIRS)}
    for reward in rewards.values():
        last, _ = timed(partial(_run, parts, reward, WARM_UP))  # that of pixels, which is the slower one
    clock.require(len(rewards) * last * sizes.iterations / WARM_UP)
    works = {name: partial(_run, parts, reward, sizes.iterations) for name, reward in rewards.items()}
    timings = in_rounds(works, sizes.rounds, clock)
    # Both towers lie on the GPU, for turns; a run of one needs its own alone.
    alone = {name: without(timing, parts.tower_gib(_other(name))) for name, timing in timings.items()}
    about = Line(MODEL, str(Shape(FACTOR * parts.side, FACTOR * parts.side)), f"{sizes.iterations} iterations")
    for name in rewards:
        yield line_of(about, name, alone, THEIRS)


def _run(parts: Any, reward: Reward, iterations: int) -> None:
    """As SDXL-Turbo is called: without guidance, one row of the denoiser an image."""
    side = FACTOR * parts.side
    optimise_noise(
        parts.pipe,
        "a cat",
        [reward],
        RenoSettings(iterations),
        seed=0,
        output_type="latent",
        height=side,
        width=side,
        guidance_scale=0.0,
    )


def _other(name: str) -> str:
    return THEIRS if name == OURS else OURS
