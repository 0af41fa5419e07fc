"""ReNO: reward-based noise optimisation (Eyring et al. 2024), with rewards that read latents.

Shapes: B images; a noise is (B, ...) as the pipeline takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.bounds import MOST_SEARCH, require_number, require_whole
from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.pipelines.call import Generators, Request
from latent_guard.reno.noise import by_image, clipped, norm_regulariser
from latent_guard.reno.result import OptimisedNoise
from latent_guard.reno.rewards import Reward
from latent_guard.reno.search import Objective, Seen, in_one_step, search_noise
from latent_guard.reno.stopping import Progress

MOST_RATE, MOST_TARGET = 1e4, 1e6


@dataclass(frozen=True)
class RenoSettings:
    """How noise is optimised; the defaults are those of ReNO's and Latent-CLIP's authors.

    Attributes:
        iterations: draws of the image, the first from the pipeline's own noise.
        learning_rate: for a noise of 4 x 64 x 64 numbers, the authors'. A noise of d numbers is about sqrt(d) long, so
            for another d the rate is scaled with that: an iteration moves every noise by the same share of its length.
        momentum: Nesterov's, of stochastic gradient descent.
        gradient_clip: largest norm of an image's gradient.
        regularisation: weight of ``norm_regulariser``, which keeps the noise as long as Gaussian noise is.
        target: an image is done once its total reward is this high.
        patience: an image is done after so many iterations in a row that were no better.
        checkpointing: compute activations twice instead of keeping them; slower, but needs less memory.
    """

    iterations: int = 50
    learning_rate: float = 5.0
    momentum: float = 0.9
    gradient_clip: float = 0.1
    regularisation: float = 0.01
    target: float | None = None
    patience: int | None = None
    checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("iterations", "patience"):
            if (value := getattr(self, name)) is not None:
                require_whole(name, value, 1, MOST_SEARCH)
        for name in ("learning_rate", "gradient_clip"):
            require_number(name, getattr(self, name), 0, MOST_RATE, over=True)
        require_number("regularisation", self.regularisation, 0, MOST_RATE)
        if self.target is not None:
            require_number("target", self.target, -MOST_TARGET, MOST_TARGET)
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum must be a number from 0 to less than 1, not {self.momentum}")


@dataclass(frozen=True, eq=False)
class Iteration:
    """What an observer is shown after each iteration; tensors that still are on the device.

    ``raw`` are the raw latents (B, C, H, W), ``total`` their weighted rewards (B,).
    """

    number: int
    raw: Tensor
    total: Tensor


Observer = Callable[[Iteration], None]
AUTHORS = RenoSettings()
AUTHORS_DIMENSIONS = 4 * 64 * 64


def optimise_noise(
    pipe: Any,
    prompt: str | list[str],
    rewards: Sequence[Reward],
    settings: RenoSettings = AUTHORS,
    *,
    seed: int | None = None,
    generator: Generators = None,
    observer: Observer | None = None,
    **arguments: Any,
) -> OptimisedNoise:
    """Find initial noise from which a one-step or few-step pipeline draws images with a higher reward.

    Each image's path is its own: it does not depend on what else is in the batch. Nothing is decoded unless a reward
    reads pixels, and then once an iteration. Rewards are float32 whatever precision the pipeline has; bfloat16 is
    better than float16, in which gradients can vanish. An image whose
    reward is not a number any more keeps its best noise so far, and ``stopped`` says so.

    Args:
        rewards: their sum, each times its weight, is what rises.
        seed: image i has a CPU generator of seed + i; or give a ``generator``, or one an image.
        arguments: the pipeline's others. ``num_inference_steps`` is 1 unless it is among them.

    Raises:
        InputError: a bad argument, too many steps, or no reward.
        UnsupportedPipelineError: no gradient path from noise to latents, or a scheduler that is not few-step.
        LatentSpaceMismatchError: a reward reads the latents of another VAE.
        DeviceMemoryError: out of memory; says what to change.
    """
    request = Request.of(prompt, in_one_step(arguments), seed, generator)

    def ascend(objective: Objective, noise: Tensor) -> Progress:
        return _ascend(objective, noise, settings, observer)

    return search_noise(pipe, request, rewards, ascend, checkpointing=settings.checkpointing)


def _ascend(objective: Objective, noise: Tensor, settings: RenoSettings, observer: Observer | None) -> Progress:
    noise = noise.detach().clone().requires_grad_(True)
    rate = settings.learning_rate * (noise[0].numel() / AUTHORS_DIMENSIONS) ** 0.5
    optimizer = torch.optim.SGD([noise], rate, settings.momentum, nesterov=settings.momentum > 0)
    progress = Progress(noise, settings.target, settings.patience)
    for number in range(settings.iterations):
        with torch.enable_grad():
            seen = objective(noise)
            _require_path(seen)
            loss = settings.regularisation * norm_regulariser(noise) - seen.total
        progress.note(number, noise, seen.rewards, seen.total)
        progress.stop_where_not_finite(seen.total)
        if observer is not None:
            observer(Iteration(number, seen.raw.detach(), seen.total.detach()))
        if number == settings.iterations - 1 or progress.all_stopped():
            break
        (gradient,) = torch.autograd.grad(loss.sum(), noise)
        progress.stop_where_not_finite(gradient)
        noise.grad = clipped(gradient, settings.gradient_clip).nan_to_num()
        before = noise.detach().clone()
        optimizer.step()
        with torch.no_grad():  # momentum must not carry on an image that was stopped
            noise.copy_(torch.where(by_image(progress.active, noise), noise, before))
    return progress


def _require_path(seen: Seen) -> None:
    if not seen.raw.requires_grad:
        raise UnsupportedPipelineError(
            "this pipeline gives no gradient path from its noise to its latents: part of its call runs without "
            "gradients, or is compiled or quantised for inference only"
        )
    if not seen.total.requires_grad:
        raise InputError("no reward depends on the image by a differentiable path; check the function of the reward")
