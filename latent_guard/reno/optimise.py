"""ReNO: reward-based noise optimisation (Eyring et al. 2024), with rewards that read latents.

Shapes: B images; a noise sample is (B, ...) as the pipeline takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.bounds import MAX_SEARCH, require_number, require_whole
from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.pipelines.call import Generators, Request
from latent_guard.reno.noise import by_image, clipped, norm_regulariser
from latent_guard.reno.progress import Progress
from latent_guard.reno.result import OptimisedNoise
from latent_guard.reno.rewards import Reward
from latent_guard.reno.search import Evaluation, Objective, search_noise, with_one_step

MAX_RATE = 1e4
MAX_TARGET = 1e6


@dataclass(frozen=True)
class RenoSettings:
    """The settings of the optimiser; the defaults are those of ReNO's and Latent-CLIP's authors.

    Attributes:
        iterations: number of times that the image is drawn; the first draw is from the pipeline's own noise.
        learning_rate: the rate for noise of 4 x 64 x 64 numbers, as the authors give it. Noise of d numbers has a norm
            of about sqrt(d), so the rate is scaled by it: an iteration moves all noise by the same fraction of its
            norm.
        momentum: Nesterov momentum of stochastic gradient descent.
        gradient_clip: largest norm of an image's gradient.
        regularisation: weight of ``norm_regulariser``, which keeps the noise's norm that of Gaussian noise.
        target: total reward at which an image is done.
        patience: iterations without an improvement after which an image is done.
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
                require_whole(name, value, 1, MAX_SEARCH)
        for name in ("learning_rate", "gradient_clip"):
            require_number(name, getattr(self, name), 0, MAX_RATE, exclusive=True)
        require_number("regularisation", self.regularisation, 0, MAX_RATE)
        if self.target is not None:
            require_number("target", self.target, -MAX_TARGET, MAX_TARGET)
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum must be a number from 0 to less than 1, not {self.momentum}")


@dataclass(frozen=True, eq=False)
class Iteration:
    """An iteration as an observer sees it: raw latents (B, C, H, W) and weighted rewards (B,), on the device."""

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

    An image's path does not depend on the rest of its batch. Nothing is decoded unless a reward reads pixels, and then
    once an iteration. Rewards are float32 whatever precision the pipeline has; bfloat16 is better than float16, in
    which gradients can vanish. An image whose reward stops being finite keeps its best noise so far, and
    ``stop_reasons`` says so.

    Args:
        pipe: a one-step or few-step text-to-image pipeline of diffusers.
        prompt: one prompt, or a list of them.
        rewards: the weighted sum of these rewards is maximised.
        settings: the optimiser's settings.
        seed: image i has a CPU generator of seed + i; or give a ``generator``, or one an image.
        generator: torch generators instead of a seed.
        observer: a function that is called after each iteration.
        arguments: the pipeline's other arguments. ``num_inference_steps`` is 1 unless it is among them.

    Returns:
        The best noise of each image, the images drawn from it, and the course of the rewards.

    Raises:
        InputError: an argument cannot be used, there are too many steps, or there is no reward.
        UnsupportedPipelineError: there is no gradient path from noise to latents, or the scheduler is not few-step.
        LatentSpaceMismatchError: a reward reads the latents of another VAE.
        DeviceMemoryError: the device ran out of memory; the message says what to change.
    """
    request = Request.of(prompt, with_one_step(arguments), seed, generator)

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
            evaluation = objective(noise)
            _require_gradient_path(evaluation)
            loss = settings.regularisation * norm_regulariser(noise) - evaluation.total
        progress.update(number, noise, evaluation.rewards, evaluation.total)
        progress.stop_where_not_finite(evaluation.total)
        if observer is not None:
            observer(Iteration(number, evaluation.raw.detach(), evaluation.total.detach()))
        if number == settings.iterations - 1 or progress.all_stopped():
            break
        (gradient,) = torch.autograd.grad(loss.sum(), noise)
        progress.stop_where_not_finite(gradient)
        noise.grad = clipped(gradient, settings.gradient_clip).nan_to_num()
        before = noise.detach().clone()
        optimizer.step()
        with torch.no_grad():  # momentum must not move an image that was stopped
            noise.copy_(torch.where(by_image(progress.active, noise), noise, before))
    return progress


def _require_gradient_path(evaluation: Evaluation) -> None:
    if not evaluation.raw.requires_grad:
        raise UnsupportedPipelineError(
            "this pipeline gives no gradient path from its noise to its latents: part of its call runs without "
            "gradients, or is compiled or quantised for inference only"
        )
    if not evaluation.total.requires_grad:
        raise InputError("no reward depends on the image by a differentiable path; check the function of the reward")
