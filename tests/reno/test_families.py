"""Every few-step family by the pipeline's own call: a gradient reaches the noise, and the reward rises."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch

from latent_guard.reno.optimise import RenoSettings, optimise_noise
from latent_guard.reno.rewards import FunctionReward, Reads
from tests.pipelines.tiny import unpacked
from tests.reno.pipelines import FAMILIES, toward

SETTINGS = RenoSettings(iterations=8)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("steps", [1, 2])
def test_the_reward_rises_and_the_first_iteration_is_the_plain_call(name: str, steps: int) -> None:
    make, arguments = FAMILIES[name]
    pipe = make()
    plain = pipe(
        "a cat",
        num_inference_steps=steps,
        generator=torch.Generator().manual_seed(5),
        output_type="latent",
        **arguments,
    ).images
    asked = {**arguments, "num_inference_steps": steps, "output_type": "latent"}
    kept = optimise_noise(pipe, "a cat", [toward(3.0)], RenoSettings(iterations=1), seed=5, **asked)
    assert torch.equal(kept.images, plain)
    found = optimise_noise(pipe, "a cat", [toward(3.0)], SETTINGS, seed=5, **asked)
    assert found.total.shape == (8, 1)
    assert float(found.total.max()) > float(found.total[0])
    assert torch.equal(found.total[0], kept.total[0])
    assert not torch.equal(found.images, plain)
    assert unpacked(pipe, found.images).shape == (1, 4, 8, 8)


@pytest.mark.parametrize("name", ["SD-Turbo", "SDXL-Turbo", "LCM scheduler"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shared", [False, True])
def test_images_are_drawn_again_from_the_noise_by_the_pipeline_alone(
    name: str, dtype: torch.dtype, shared: bool
) -> None:
    make, arguments = FAMILIES[name]
    pipe = make().to(dtype)
    generator = torch.Generator().manual_seed(5)
    origin = {"generator": generator} if shared else {"seed": 5}
    call = {**arguments, "num_inference_steps": 3, "output_type": "latent"}
    found = optimise_noise(pipe, ["a cat", "a dog"], [toward(3.0)], SETTINGS, **origin, **call)
    for _ in range(2):
        assert torch.equal(found.images, pipe(["a cat", "a dog"], **found.arguments(), **call).images)


def test_a_call_that_encodes_twice_gets_what_it_asked_for_each_time() -> None:
    make, arguments = FAMILIES["FLUX.1"]
    pipe, asked = make(), []
    encode = pipe.encode_prompt

    def encode_prompt(self: Any, prompt: Any = None, **rest: Any) -> tuple[Any, ...]:
        asked.append(prompt)
        words, pooled, ids = encode()
        return (words if prompt == "a cat" else -words), pooled, ids

    pipe.encode_prompt = types.MethodType(encode_prompt, pipe)
    call = {**arguments, "true_cfg_scale": 3.0, "negative_prompt": "a dog", "output_type": "latent"}
    plain = pipe("a cat", num_inference_steps=1, generator=torch.Generator().manual_seed(5), **call).images
    asked.clear()
    found = optimise_noise(pipe, "a cat", [toward(3.0)], RenoSettings(iterations=3), seed=5, **call)
    assert asked == ["a cat", "a dog"] * 2  # once for all iterations, once by the final call
    first = optimise_noise(pipe, "a cat", [toward(3.0)], RenoSettings(iterations=1), seed=5, **call)
    assert torch.equal(first.images, plain)
    assert float(found.total[0]) == pytest.approx(float(first.total[0]))


@pytest.mark.parametrize("fails", [False, True])
def test_a_pipeline_is_left_as_it_was(fails: bool) -> None:
    make, arguments = FAMILIES["SDXL-Turbo"]
    pipe = make()
    pipe.unet.requires_grad_(True)
    pipe.vae.requires_grad_(False)
    before = {name for name in vars(pipe) if not name.startswith("_")}  # with one, diffusers keeps a call's own
    if fails:
        calls = iter(range(2))  # an error in mid-run
        broken = FunctionReward(lambda raw, prompts: raw.mean(dim=(1, 2, 3)) + next(calls), "broken", Reads.LATENTS)
        with pytest.raises(StopIteration):
            optimise_noise(pipe, "a cat", [broken], SETTINGS, seed=5, **arguments)
    else:
        optimise_noise(pipe, "a cat", [toward(3.0)], SETTINGS, seed=5, **arguments)
    assert {name for name in vars(pipe) if not name.startswith("_")} == before
    assert all(p.requires_grad and p.grad is None for p in pipe.unet.parameters())
    assert not any(p.requires_grad for p in pipe.vae.parameters())
