"""An optimisation as its caller sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor, nn

from latent_guard.errors import (
    DeviceMemoryError,
    InputError,
    LatentSpaceMismatchError,
    UnsupportedPipelineError,
)
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.canary import Canary
from latent_guard.reno.optimise import AUTHORS, Iteration, RenoSettings, optimise_noise
from latent_guard.reno.result import StopReason
from latent_guard.reno.rewards import FunctionReward, LatentClipReward, Reads
from latent_guard.testing import tiny_pipeline
from latent_guard.testing.linear import SPACE
from latent_guard.testing.pipelines import DDIM
from tests.pipelines.tiny import BY_NAME
from tests.reno.pipelines import lcm, toward, turbo

FAST = RenoSettings(iterations=6, learning_rate=60)
QUIET: dict[str, Any] = {"output_type": "latent"}


@pytest.fixture(scope="module")
def pipe() -> Any:
    return turbo()


def test_the_defaults_are_the_authors() -> None:
    assert (AUTHORS.iterations, AUTHORS.learning_rate, AUTHORS.momentum) == (50, 5.0, 0.9)
    assert (AUTHORS.gradient_clip, AUTHORS.regularisation) == (0.1, 0.01)
    assert AUTHORS.target is None
    assert AUTHORS.patience is None


def test_a_step_is_that_of_nesterov_with_clipped_gradients_scaled_to_the_length_of_the_noise() -> None:
    """Two steps by hand (Sutskever et al. 2013, as torch has it), without torch's optimiser."""
    pipe, noises, grads = turbo(), [], []
    weights = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1))

    def linear(raw: Tensor, prompts: Sequence[str]) -> Tensor:
        return (raw * weights).sum(dim=(1, 2, 3))

    settings = RenoSettings(iterations=3, regularisation=0.0)
    found = optimise_noise(pipe, "a cat", [FunctionReward(linear, "linear", Reads.LATENTS)], settings, seed=5, **QUIET)
    rate = 5.0 * (256 / 16384) ** 0.5
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    velocity = torch.zeros_like(noise)
    for _ in range(3):
        leaf = noise.clone().requires_grad_(True)
        raw = SPACE.to_raw(_plain(pipe, leaf))
        (gradient,) = torch.autograd.grad(-linear(raw, []).sum(), leaf)
        noises.append(noise)
        grads.append(float(linear(raw, []).detach()))
        gradient = gradient * min(1.0, 0.1 / float(gradient.norm()))
        velocity = 0.9 * velocity + gradient
        noise = noise - rate * (gradient + 0.9 * velocity)
    assert found.total[:, 0].tolist() == pytest.approx(grads, rel=1e-4)
    assert torch.allclose(found.noise, noises[int(found.best_iteration)], atol=1e-5)


def _plain(pipe: Any, noise: Tensor) -> Tensor:
    import inspect

    call = inspect.unwrap(type(pipe).__call__)
    images: Tensor = call(pipe, "a cat", latents=noise, num_inference_steps=1, output_type="latent").images
    return images


def test_the_best_iterate_is_kept_not_the_last(pipe: Any) -> None:
    peaks, calls = torch.tensor([3, 5]), iter(range(100))

    def rises_and_falls(raw: Tensor, prompts: Sequence[str]) -> Tensor:
        seen.append(raw.detach())
        return -(peaks - next(calls)).abs() + 1e-3 * raw.mean(dim=(1, 2, 3))

    seen: list[Tensor] = []
    reward = FunctionReward(rises_and_falls, "rises and falls", Reads.LATENTS)
    found = optimise_noise(pipe, ["a cat", "a dog"], [reward], RenoSettings(iterations=8), seed=5, **QUIET)
    assert found.best_iteration.tolist() == [3, 5]
    drawn = SPACE.to_raw(found.images)
    assert torch.allclose(drawn, torch.stack([seen[3][0], seen[5][1]]), atol=1e-4)
    assert not torch.allclose(drawn, seen[7], atol=1e-4)


def test_an_image_s_path_does_not_depend_on_its_batch(pipe: Any) -> None:
    both = optimise_noise(pipe, ["a cat", "a dog"], [toward(3.0)], FAST, seed=5, **QUIET)
    alone = optimise_noise(pipe, "a dog", [toward(3.0)], FAST, seed=6, **QUIET)
    assert torch.allclose(both.noise[1:], alone.noise, atol=1e-4)
    assert torch.allclose(both.total[:, 1], alone.total[:, 0], atol=1e-4)


def test_several_images_of_a_prompt_have_noises_of_their_own(pipe: Any) -> None:
    found = optimise_noise(pipe, "a cat", [toward(3.0)], FAST, seed=5, num_images_per_prompt=2, **QUIET)
    assert found.noise.shape == (2, 4, 8, 8)
    assert not torch.equal(found.noise[0], found.noise[1])


def test_steps_that_add_noise_meet_the_same_noise_in_each_iteration() -> None:
    pipe = lcm()
    still = RenoSettings(iterations=3, learning_rate=1e-9)
    found = optimise_noise(pipe, "a cat", [toward(3.0)], still, seed=5, num_inference_steps=4, **QUIET)
    assert found.total[:, 0].tolist() == pytest.approx([float(found.total[0])] * 3, abs=1e-5)


def test_rewards_are_summed_by_weight_and_told_apart(pipe: Any) -> None:
    rewards = [toward(3.0, "up", weight=2.0), toward(-1.0, "down", Reads.PIXELS, weight=0.5)]
    found = optimise_noise(pipe, "a cat", rewards, FAST, seed=5, **QUIET)
    assert list(found.rewards) == ["up", "down"]
    assert torch.allclose(found.total, 2 * found.rewards["up"] + 0.5 * found.rewards["down"], atol=1e-4)


@pytest.mark.parametrize(("reads", "decodes"), [(Reads.LATENTS, 1), (Reads.PIXELS, 1 + FAST.iterations)])
def test_an_iteration_decodes_once_if_a_reward_reads_pixels_and_else_never(reads: Reads, decodes: int) -> None:
    pipe, calls = turbo(), []
    pipe.vae.decoder.register_forward_hook(lambda *_: calls.append(1))
    rewards = [toward(0.5, "one", reads), toward(0.1, "two", reads)]
    optimise_noise(pipe, "a cat", rewards, FAST, seed=5)
    assert len(calls) == decodes


def test_prompts_are_encoded_once_for_all_iterations() -> None:
    pipe, calls = turbo(), []
    pipe.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    optimise_noise(pipe, "a cat", [toward(3.0)], FAST, seed=5, guidance_scale=1.0, **QUIET)
    assert len(calls) == 2  # the second time by the final, public call


def test_noise_stays_as_long_as_gaussian_noise_under_the_regulariser(pipe: Any) -> None:
    far = [toward(100.0)]
    long = RenoSettings(iterations=40, learning_rate=60)
    strict = RenoSettings(iterations=40, learning_rate=60, regularisation=10.0)
    free = optimise_noise(pipe, "a cat", far, long, seed=5, **QUIET).noise.norm()
    kept = optimise_noise(pipe, "a cat", far, strict, seed=5, **QUIET).noise.norm()
    assert abs(float(kept) - 255**0.5) < abs(float(free) - 255**0.5)


def test_an_image_stops_at_its_target_while_others_go_on(pipe: Any) -> None:
    def by_prompt(raw: Tensor, prompts: Sequence[str]) -> Tensor:
        easy = torch.tensor([prompt == "easy" for prompt in prompts])
        return torch.where(easy, 1.0, -1.0) + 0 * raw.sum(dim=(1, 2, 3))

    reward = FunctionReward(by_prompt, "by prompt", Reads.LATENTS)
    settings = RenoSettings(iterations=5, target=0.5)
    found = optimise_noise(pipe, ["easy", "hard"], [reward], settings, seed=5, **QUIET)
    assert found.stop_reasons == (StopReason.TARGET, StopReason.ITERATIONS)
    assert found.total[:, 0].isnan().tolist() == [False, True, True, True, True]
    assert not found.total[:, 1].isnan().any()


def test_all_stop_where_no_iteration_gets_better(pipe: Any) -> None:
    flat = FunctionReward(lambda raw, prompts: 0 * raw.sum(dim=(1, 2, 3)), "flat", Reads.LATENTS)
    found = optimise_noise(pipe, "a cat", [flat], RenoSettings(iterations=30, patience=4), seed=5, **QUIET)
    assert found.stop_reasons == (StopReason.PLATEAU,)
    assert (len(found.total), int(found.best_iteration)) == (5, 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_leaves_the_best_so_far_and_says_so(pipe: Any, value: float) -> None:
    calls = iter(range(100))

    def breaks(raw: Tensor, prompts: Sequence[str]) -> Tensor:
        good = raw[:, 0].mean(dim=(1, 2))
        broken = next(calls) >= 3
        return torch.where(torch.tensor([broken, False]), value, good)

    reward = FunctionReward(breaks, "breaks", Reads.LATENTS)
    found = optimise_noise(pipe, ["a cat", "a dog"], [reward], FAST, seed=5, **QUIET)
    assert found.stop_reasons == (StopReason.NOT_FINITE, StopReason.ITERATIONS)
    assert int(found.best_iteration[0]) == int(found.total[:3, 0].argmax())
    assert found.images.isfinite().all()
    plain = found.to_dict(0)
    assert plain["stop_reason"] == "a reward or its gradient was not finite"
    assert plain["total"][3:] == [None, None, None]


def test_a_reward_that_never_was_a_number_leaves_the_first_noise(pipe: Any) -> None:
    broken = FunctionReward(lambda raw, prompts: raw.sum(dim=(1, 2, 3)) * float("nan"), "broken", Reads.LATENTS)
    found = optimise_noise(pipe, "a cat", [broken], FAST, seed=5, **QUIET)
    assert (found.stop_reasons, int(found.best_iteration)) == ((StopReason.NOT_FINITE,), 0)
    assert torch.allclose(found.noise, torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5)))


def test_a_gradient_that_is_no_number_stops_its_image_and_no_other(pipe: Any) -> None:
    def steep(raw: Tensor, prompts: Sequence[str]) -> Tensor:
        zero = raw[:, 0].mean(dim=(1, 2)) * torch.tensor([0.0, 1.0])
        return -zero.abs().sqrt()  # at 0 its slope is infinite

    found = optimise_noise(
        pipe, ["a cat", "a dog"], [FunctionReward(steep, "steep", Reads.LATENTS)], FAST, seed=5, **QUIET
    )
    assert found.stop_reasons == (StopReason.NOT_FINITE, StopReason.ITERATIONS)
    assert found.noise.isfinite().all()


def test_an_observer_sees_every_iteration(pipe: Any) -> None:
    seen: list[Iteration] = []
    found = optimise_noise(pipe, "a cat", [toward(3.0)], FAST, seed=5, observer=seen.append, **QUIET)
    assert [one.number for one in seen] == list(range(6))
    assert [float(one.total) for one in seen] == found.total[:, 0].tolist()
    assert seen[0].raw.shape == (1, 4, 8, 8)
    assert not seen[0].raw.requires_grad


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_it_works_where_the_caller_switched_gradients_off(pipe: Any, around: Any) -> None:
    with around():
        found = optimise_noise(pipe, "a cat", [toward(3.0)], FAST, seed=5, **QUIET)
    assert float(found.total.max()) > float(found.total[0])


def test_checkpointing_gives_the_same_and_is_switched_off_again() -> None:
    pipe = turbo()
    plain = optimise_noise(pipe, "a cat", [toward(3.0, reads=Reads.PIXELS)], FAST, seed=5, **QUIET)
    saving = RenoSettings(iterations=6, learning_rate=60, checkpointing=True)
    found = optimise_noise(pipe, "a cat", [toward(3.0, reads=Reads.PIXELS)], saving, seed=5, **QUIET)
    assert torch.allclose(plain.total, found.total, atol=1e-5)
    assert not pipe.unet.is_gradient_checkpointing


def test_a_half_precision_pipeline_is_optimised_with_rewards_in_full() -> None:
    pipe, types = turbo().to(torch.bfloat16), []

    def note(raw: Tensor, prompts: Sequence[str]) -> Tensor:
        types.append(raw.dtype)
        return raw[:, 0].mean(dim=(1, 2))

    found = optimise_noise(pipe, "a cat", [FunctionReward(note, "note", Reads.LATENTS)], FAST, seed=5, **QUIET)
    assert set(types) == {torch.float32}
    assert found.noise.dtype == torch.bfloat16  # as the pipeline takes it
    assert found.images.dtype == torch.bfloat16


# What cannot be had


def refused(error: type[Exception], pipe: Any, reward: Any = None, **arguments: Any) -> str:
    with pytest.raises(error) as stop:
        optimise_noise(pipe, "a cat", [reward or toward(3.0)], **{"seed": 5, **arguments})
    message = str(stop.value)
    assert "\n" not in message
    return message


def test_a_scheduler_that_is_not_few_step_is_refused_by_name() -> None:
    assert "DDIMScheduler is no few-step scheduler" in refused(UnsupportedPipelineError, tiny_pipeline())


def test_a_scheduler_that_the_guard_does_not_know_is_refused_by_name() -> None:
    pipe = tiny_pipeline(scheduler=diffusers.UnCLIPScheduler())
    assert "UnCLIPScheduler" in refused(UnsupportedPipelineError, pipe)


def test_many_steps_are_refused_however_they_are_asked_for(pipe: Any) -> None:
    assert refused(InputError, pipe, num_inference_steps=20).startswith("20 steps are not few")
    assert refused(InputError, pipe, timesteps=list(range(990, 0, -10))).startswith("99 steps are not few")


def test_no_number_of_steps_is_one_step(pipe: Any) -> None:
    one = optimise_noise(pipe, "a cat", [toward(3.0)], FAST, seed=5, **QUIET)
    none = optimise_noise(pipe, "a cat", [toward(3.0)], FAST, seed=5, num_inference_steps=None, **QUIET)
    assert torch.equal(one.images, none.images)


@pytest.mark.parametrize("shape", [(), (1, 1)])
def test_a_reward_that_is_not_one_number_an_image_is_refused_by_name(pipe: Any, shape: tuple[int, ...]) -> None:
    odd = FunctionReward(lambda raw, prompts: raw.mean().expand(shape), "odd", Reads.LATENTS)
    assert "reward odd gives" in refused(InputError, pipe, odd)


@pytest.mark.parametrize(
    "name",
    ["StableDiffusionImg2ImgPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"],
)
def test_a_pipeline_that_begins_with_a_picture_is_refused(name: str) -> None:
    pipe = BY_NAME[name].pipeline()
    pipe.scheduler = diffusers.LCMScheduler(**{k: v for k, v in DDIM.items() if k != "clip_sample"})
    assert "does not begin with noise alone" in refused(UnsupportedPipelineError, pipe)


def test_a_pipeline_that_cuts_the_gradient_is_refused() -> None:
    pipe = turbo()
    forward = pipe.unet.forward
    pipe.unet.forward = torch.no_grad()(forward)
    pipe.scheduler.step = torch.no_grad()(pipe.scheduler.step)
    assert "no gradient path" in refused(UnsupportedPipelineError, pipe)


def test_a_reward_that_does_not_depend_on_the_image_is_refused(pipe: Any) -> None:
    constant = FunctionReward(lambda raw, prompts: torch.zeros(len(raw)), "constant", Reads.LATENTS)
    assert "no reward depends on the image" in refused(InputError, pipe, constant)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 PiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    ],
)
def test_running_out_of_memory_says_what_to_change(pipe: Any, error: Exception) -> None:
    def hungry(raw: Tensor, prompts: Sequence[str]) -> Tensor:
        raise error

    message = refused(DeviceMemoryError, pipe, FunctionReward(hungry, "hungry", Reads.LATENTS))
    assert "gradient checkpointing" in message
    optimise_noise(pipe, "a cat", [toward(3.0)], FAST, seed=5, **QUIET)  # and the pipeline still works


def test_no_reward_two_of_one_name_and_no_seed_are_refused(pipe: Any) -> None:
    with pytest.raises(InputError, match="no reward"):
        optimise_noise(pipe, "a cat", [], seed=5)
    with pytest.raises(InputError, match="two rewards are called 'level'"):
        optimise_noise(pipe, "a cat", [toward(1.0), toward(2.0)], seed=5)
    assert "seed or a generator" in refused(InputError, pipe, seed=None)


@pytest.mark.parametrize(
    "bad",
    [
        {"iterations": 0},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"gradient_clip": -1.0},
        {"regularisation": -0.1},
        {"momentum": 1.0},
    ],
)
def test_settings_out_of_range_are_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        RenoSettings(**bad)  # type: ignore[arg-type]


class Reads16(nn.Module):
    """A Latent-CLIP of another VAE's latents."""

    def __init__(self) -> None:
        super().__init__()
        self.config = type("Config", (), {"latent_space": LatentSpace("AutoencoderKL", 16, 8)})()


def test_a_reward_of_another_latent_space_is_refused_before_anything_runs(pipe: Any) -> None:
    reward = LatentClipReward(Reads16())  # type: ignore[arg-type]
    assert "4 channels" in refused(LatentSpaceMismatchError, pipe, reward)


def test_a_vae_that_is_not_the_reward_s_own_is_refused(pipe: Any) -> None:
    class OfThisSpace(Reads16):
        def __init__(self) -> None:
            super().__init__()
            self.config.latent_space = SPACE

    picture = torch.randint(256, (3, 16, 16), dtype=torch.uint8)
    foreign = Canary(picture, torch.full((4, 4, 4), 9.0))
    message = refused(LatentSpaceMismatchError, pipe, LatentClipReward(OfThisSpace(), foreign))  # type: ignore[arg-type]
    assert "not the one that the guard was trained on" in message
