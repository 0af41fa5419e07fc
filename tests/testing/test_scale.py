"""A guard does the same whatever the scale of a pipeline's latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_guard import shipped
from latent_guard.errors import InputError
from latent_guard.guidance import looking
from latent_guard.guidance.policy import STEER, Policy
from latent_guard.guidance.steering import push_away
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.reno.optimise import RenoSettings, optimise_noise
from latent_guard.reno.rewards import LatentClipReward, SafetyReward, Smoothing
from latent_guard.testing import check_scale, tiny_pipeline
from latent_guard.testing.rescaling import rescaled, rescaled_guard, space_of
from latent_guard.testing.scale import FACTORS
from tests.reno.pipelines import turbo
from tests.testing.guarded import BY_CHANNEL, guard_of

RISKY = ["a pirate party", "late at the club", "a hunter at work", "pirates at sea"]
ONE_STEP = Policy(window=(1.0, 0.0), retries=1, block=False)


def by_channel() -> Any:
    pipe = tiny_pipeline("StableDiffusionXLPipeline")
    pipe.vae.register_to_config(**BY_CHANNEL)
    return pipe


TINY: dict[str, tuple[Callable[[], Any], Policy, int]] = {
    "one scale": (tiny_pipeline, STEER, 4),
    "each channel its own": (by_channel, STEER, 4),
    "one step, made again from its own end": (turbo, ONE_STEP, 1),
}


@pytest.mark.parametrize("name", TINY)
def test_a_guard_pushes_alike_in_latents_of_every_scale(name: str) -> None:
    build, policy, steps = TINY[name]
    pipe = build()
    size = {"height": 32, "width": 32}
    results = list(check_scale(pipe, guard_of(pipe, policy), ["a cat", "a dog"], num_inference_steps=steps, **size))
    assert [result.factors for result in results[:3]] == [(factor,) for factor in FACTORS]
    assert [len(result.factors) for result in results[3:]] == ([4] if name == "each channel its own" else [])
    assert all(result.holds and result.difference < 0.1 and result.images == 2 for result in results), results


def test_a_length_in_raw_latents_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_raw(raw: Tensor, scores: Any, space: LatentSpace, *rest: Any) -> Tensor:
        return push_away(raw, scores, LatentSpace(space.name, space.channels, space.factor), *rest)

    monkeypatch.setattr(looking, "push_away", in_raw)
    pipe = tiny_pipeline()
    results = check_scale(pipe, guard_of(pipe, STEER), ["a cat", "a dog"], num_inference_steps=4)
    assert not any(result.holds for result in results)


def test_images_that_the_guard_leaves_alone_prove_nothing() -> None:
    pipe = tiny_pipeline()
    with pytest.raises(InputError, match="acted on none of these 1 images"):
        next(check_scale(pipe, guard_of(pipe, STEER, threshold=1e3), ["a cat"], num_inference_steps=2))


@pytest.mark.parametrize("build", [turbo, by_channel], ids=["one scale", "each channel its own"])
def test_noise_is_optimised_alike_in_latents_of_every_scale(build: Callable[[], Any]) -> None:
    pipe = build()
    pipe.scheduler = turbo().scheduler
    guard, space = guard_of(pipe, STEER), space_of(pipe)
    factors = (0.13, 7.677, 40.0, 1.5) if space.std else (7.677,) * 4

    def found(pipe: Any, guard: Any) -> Tensor:
        smoothing = Smoothing(2, 0.3)
        rewards = [
            LatentClipReward(guard.model, guard.canary, smoothing),
            SafetyReward(guard.model, guard.bank, guard.canary, smoothing),
        ]
        settings = RenoSettings(iterations=4, regularisation=0.0)
        return optimise_noise(pipe, "a knife", rewards, settings, seed=0, height=32, width=32).noise

    own = found(pipe, guard)
    other = found(rescaled(pipe, factors), rescaled_guard(guard, space, factors))
    torch.testing.assert_close(other, own, atol=1e-3, rtol=0)


def test_the_shipped_guard_does_the_same_in_latents_of_every_scale() -> None:
    results = list(check_scale(shipped.pipeline(), shipped.guard("steer"), RISKY[:2], **_arguments(8, images=1)))
    assert all(result.holds for result in results), results


@pytest.mark.slow
def test_sixteen_images_of_the_shipped_guard_are_the_same_in_latents_of_every_scale() -> None:
    results = list(check_scale(shipped.pipeline(), shipped.guard("steer"), RISKY, **_arguments(20, images=4)))
    assert [result.images for result in results] == [16, 16, 16]
    assert all(result.holds for result in results), results


def _arguments(steps: int, images: int) -> dict[str, Any]:
    return {**shipped.ARGUMENTS, "num_inference_steps": steps, "num_images_per_prompt": images}
