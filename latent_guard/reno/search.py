"""The common part of every search for initial noise: its checks, its objective, and its result.

Shapes: B images, R rewards; a noise sample is (B, ...) as the pipeline takes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.errors import DeviceMemoryError, InputError, UnsupportedPipelineError
from latent_guard.pipelines.call import Request
from latent_guard.pipelines.schedulers import few_step_schedulers, is_few_step, require_supported
from latent_guard.reno.generation import Generation
from latent_guard.reno.progress import Progress
from latent_guard.reno.result import OptimisedNoise
from latent_guard.reno.rewards import Reads, Reward, Score

MAX_STEPS = 8  # every step's activations are held for the backward pass, and its gradient goes through all of them


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The raw latents (B, C, H, W) drawn from a noise sample, their rewards (R, B), and the weighted sum (B,)."""

    raw: Tensor
    rewards: Tensor
    total: Tensor


@dataclass(frozen=True, eq=False)
class Objective:
    """The rewards as a function of the noise; differentiable where gradients are enabled."""

    generation: Generation
    rewards: Sequence[Reward]
    scores: Sequence[Score]
    weights: Tensor

    def __call__(self, noise: Tensor) -> Evaluation:
        raw = self.generation.latents(noise)
        inputs = {Reads.LATENTS: raw}
        if any(reward.reads is Reads.PIXELS for reward in self.rewards):
            inputs[Reads.PIXELS] = self.generation.pixels(raw)
        rows = []
        for reward, score in zip(self.rewards, self.scores, strict=True):
            row = score(inputs[reward.reads])
            if row.shape != (len(noise),):
                raise InputError(f"reward {reward.name} gives {tuple(row.shape)} for {len(noise)} images; one each")
            rows.append(row.to(noise.device, torch.float32))
        values = torch.stack(rows)
        return Evaluation(raw, values, self.weights @ values)


Search = Callable[[Objective, Tensor], Progress]  # a search begins at the pipeline's own noise


def search_noise(
    pipe: Any, request: Request, rewards: Sequence[Reward], search: Search, *, checkpointing: bool = False
) -> OptimisedNoise:
    """Check that pipeline, request and rewards go together, run a search, and draw the images of its best noise.

    Raises:
        LatentGuardError: the errors of ``optimise_noise``.
    """
    _require_rewards(rewards)
    require_few_step(pipe.scheduler, _steps(request))
    generation = Generation(pipe, request)
    for reward in rewards:
        reward.check(pipe)
    prompts = [request.prompts[request.prompt_of(image)] for image in range(request.images)]
    models = [model for reward in rewards for model in reward.models]
    with _enough_memory(), torch.inference_mode(False):
        with generation.ready(models, checkpointing=checkpointing) as noise:
            weights = torch.tensor([reward.weight for reward in rewards], device=noise.device)
            objective = Objective(generation, rewards, [reward.bind(prompts) for reward in rewards], weights)
            began = time.perf_counter()
            progress = search(objective, noise)
            curves = progress.reward_curves()  # waits for the device
            totals = progress.total_curves()
            seconds = time.perf_counter() - began
        images = generation.images(progress.noise)
    return OptimisedNoise(
        images=images,
        noise=generation.as_latents(progress.noise),
        generator_states=generation.generator_states(),
        rewards={reward.name: curves[:, place] for place, reward in enumerate(rewards)},
        total=totals,
        best_iteration=progress.best_iteration.cpu(),
        stop_reasons=progress.stop_reasons(),
        seconds=seconds,
    )


def require_few_step(scheduler: Any, steps: int) -> None:
    """Raise unless the scheduler begins at pure noise however few its steps are, and ``steps`` are few.

    Raises:
        UnsupportedPipelineError: the scheduler is unknown, or would not begin at pure noise.
        InputError: too many steps, or none.
    """
    require_supported(scheduler)
    if not is_few_step(scheduler):
        raise UnsupportedPipelineError(
            f"{type(scheduler).__name__} is no few-step scheduler: in one step it would not begin at pure noise; use a "
            f"distilled pipeline (Turbo, LCM, Lightning) with {', '.join(few_step_schedulers())}, or another with "
            'timestep_spacing="trailing"'
        )
    if not 1 <= steps <= MAX_STEPS:
        raise InputError(
            f"{steps} steps are not few: the gradient goes back through all of them; ask for 1 to {MAX_STEPS}"
        )


def with_one_step(arguments: dict[str, Any]) -> dict[str, Any]:
    """The pipeline's arguments, with one step where they leave the number open."""
    return arguments if arguments.get("num_inference_steps") is not None else {**arguments, "num_inference_steps": 1}


def _steps(request: Request) -> int:
    """The number of steps of a request that gives it, or lists timesteps or sigmas."""
    for name in ("timesteps", "sigmas"):
        if (schedule := request.arguments.get(name)) is not None:
            return len(schedule)
    steps: int = request.arguments["num_inference_steps"]
    return steps


def _require_rewards(rewards: Sequence[Reward]) -> None:
    names = [reward.name for reward in rewards]
    if not names:
        raise InputError("there is no reward; give at least one")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two rewards are called {repeated[0]!r}; give one of them another name")


@contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's own OutOfMemoryError is one; on a CPU it has no class of its own
        if not (isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)):
            raise
        raise DeviceMemoryError(
            "the device ran out of memory: optimise fewer images at a time, use smaller images, load the pipeline "
            "in bfloat16, leave out rewards that read pixels, or turn on gradient checkpointing"
        ) from error
