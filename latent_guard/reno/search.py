"""What every search for initial noise shares: its checks, what is maximised, and how its result is made.

Shapes: B images, R rewards; a noise is (B, ...) as the pipeline takes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.errors import DeviceMemoryError, InputError
from latent_guard.pipelines.call import Request
from latent_guard.reno.few_step import require_few_step
from latent_guard.reno.generation import Generation
from latent_guard.reno.result import OptimisedNoise
from latent_guard.reno.rewards import Reads, Reward, Score
from latent_guard.reno.stopping import Progress


@dataclass(frozen=True, eq=False)
class Seen:
    """What a noise led to: raw latents (B, C, H, W), rewards (R, B), and their weighted sum (B,)."""

    raw: Tensor
    rewards: Tensor
    total: Tensor


@dataclass(frozen=True, eq=False)
class Objective:
    """Rewards of what a noise leads to; differentiable where gradients are enabled."""

    generation: Generation
    rewards: Sequence[Reward]
    scores: Sequence[Score]
    weights: Tensor

    def __call__(self, noise: Tensor) -> Seen:
        raw = self.generation.latents(noise)
        inputs = {Reads.LATENTS: raw}
        if any(reward.reads is Reads.PIXELS for reward in self.rewards):
            inputs[Reads.PIXELS] = self.generation.pixels(raw)
        found = [score(inputs[reward.reads]) for reward, score in zip(self.rewards, self.scores, strict=True)]
        for reward, value in zip(self.rewards, found, strict=True):
            if value.shape != (len(noise),):
                raise InputError(f"reward {reward.name} gives {tuple(value.shape)} for {len(noise)} images; one each")
        values = torch.stack([value.to(noise.device, torch.float32) for value in found])
        return Seen(raw, values, self.weights @ values)


Search = Callable[[Objective, Tensor], Progress]  # from the pipeline's own noise to the best that was found


def search_noise(
    pipe: Any, request: Request, rewards: Sequence[Reward], search: Search, *, checkpointing: bool = False
) -> OptimisedNoise:
    """Check that pipeline, request and rewards go together, run a search, and draw what it found.

    Raises as ``optimise_noise``.
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
            curves, totals = progress.curves(), progress.totals()  # waits for the device
            seconds = time.perf_counter() - began
        images = generation.images(progress.noise)
    return OptimisedNoise(
        images=images,
        noise=generation.as_latents(progress.noise),
        origin=generation.again(),
        rewards={reward.name: curves[:, place] for place, reward in enumerate(rewards)},
        total=totals,
        best=progress.best_iteration.cpu(),
        stopped=progress.reasons(),
        seconds=seconds,
    )


def in_one_step(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same, with one step where they leave the number open."""
    return arguments if arguments.get("num_inference_steps") is not None else {**arguments, "num_inference_steps": 1}


def _steps(request: Request) -> int:
    """How many steps the request comes to, however it says so."""
    listed = [request.arguments.get(name) for name in ("timesteps", "sigmas")]
    return next((len(steps) for steps in listed if steps is not None), request.arguments["num_inference_steps"])


def _require_rewards(rewards: Sequence[Reward]) -> None:
    names = [reward.name for reward in rewards]
    if not names:
        raise InputError("there is no reward; give at least one")
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two rewards are called {twice[0]!r}; give one of them another name")


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
