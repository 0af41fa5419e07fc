"""Best of N: the highest-rewarded of several random noise samples, which noise optimisation has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from latent_guard.bounds import MAX_SEARCH, require_whole
from latent_guard.pipelines.call import Generators, Request
from latent_guard.reno.progress import Progress
from latent_guard.reno.result import OptimisedNoise
from latent_guard.reno.rewards import Reward
from latent_guard.reno.search import Objective, search_noise, with_one_step


def best_of(
    pipe: Any,
    prompt: str | list[str],
    rewards: Sequence[Reward],
    draws: int,
    *,
    seed: int | None = None,
    generator: Generators = None,
    **arguments: Any,
) -> OptimisedNoise:
    """Draw ``draws`` noise samples an image, and keep for each image the one with the highest reward.

    The first sample is the pipeline's own; each of the others follows from the image's generator and the number of
    the draw. Arguments, result and errors are those of ``optimise_noise``; an iteration is a draw.
    """
    require_whole("draws", draws, 1, MAX_SEARCH)
    request = Request.of(prompt, with_one_step(arguments), seed, generator)

    @torch.no_grad()
    def draw(objective: Objective, noise: Tensor) -> Progress:
        progress = Progress(noise, None, None)
        for number in range(draws):
            sample = _fresh(request, noise, number) if number else noise
            evaluation = objective(sample)
            progress.update(number, sample, evaluation.rewards, evaluation.total)
        return progress

    return search_noise(pipe, request, rewards, draw)


def _fresh(request: Request, like: Tensor, number: int) -> Tensor:
    """The noise samples of draw ``number``, one an image, shaped like ``like`` (B, ...)."""
    generators = [request.origins.generator(image, number) for image in range(request.images)]
    shape = like.shape[1:]
    samples = [torch.randn(shape, generator=generator, device=generator.device) for generator in generators]
    return torch.stack(samples).to(like)
