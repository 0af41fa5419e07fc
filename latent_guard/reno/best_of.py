"""The best of several random noises: what an optimisation of noise has to beat in the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from latent_guard.bounds import MOST_SEARCH, require_whole
from latent_guard.pipelines.call import Generators, Request
from latent_guard.reno.result import OptimisedNoise
from latent_guard.reno.rewards import Reward
from latent_guard.reno.search import Objective, in_one_step, search_noise
from latent_guard.reno.stopping import Progress


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
    """Of ``draws`` noises the one that leads to the highest reward, for each image on its own.

    The first is the pipeline's own; the others are functions of the image's generator and their number. Arguments,
    result and errors are those of ``optimise_noise``, an iteration being a draw.
    """
    require_whole("draws", draws, 1, MOST_SEARCH)
    request = Request.of(prompt, in_one_step(arguments), seed, generator)

    @torch.no_grad()
    def draw(objective: Objective, noise: Tensor) -> Progress:
        progress = Progress(noise, None, None)
        for number in range(draws):
            tried = _fresh(request, noise, number) if number else noise
            seen = objective(tried)
            progress.note(number, tried, seen.rewards, seen.total)
        return progress

    return search_noise(pipe, request, rewards, draw)


def _fresh(request: Request, like: Tensor, number: int) -> Tensor:
    generators = [request.origins.generator(image, number) for image in range(request.images)]
    shape = like.shape[1:]
    return torch.stack([torch.randn(shape, generator=own, device=own.device) for own in generators]).to(like)
