"""`guard.attach(pipe)`: what becomes of the images, and of the pipeline afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    UnCLIPScheduler,
)
from torch import Tensor

from latent_guard.errors import (
    BlockedError,
    GuardError,
    InputError,
    LatentSpaceMismatchError,
    UnsupportedPipelineError,
)
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import BLOCK, FLAG, STEER, Policy
from latent_guard.guidance.verdict import Decision
from latent_guard.pipelines.canary import Canary
from latent_guard.testing import BrokenLatentCLIP, LinearLatentCLIP, linear_bank, linear_guard, tiny_pipeline
from latent_guard.testing.linear import SPACE
from latent_guard.testing.pipelines import DDIM
from tests.pipelines.tiny import generators

NEVER, ALWAYS = 1e3, -1e3
PROMPTS = ["a cat", "a party", "a dog"]
SCHEDULERS = {
    "ddim": lambda: DDIMScheduler(**DDIM),
    "dpmsolver": lambda: DPMSolverMultistepScheduler(beta_schedule="scaled_linear"),
    "euler": lambda: EulerDiscreteScheduler(beta_schedule="scaled_linear"),
}


def run(pipe: Any, **changes: Any) -> Any:
    arguments = {"prompt": PROMPTS, "num_inference_steps": 5, "generator": generators(1, 2, 3), "output_type": "latent"}
    return pipe(**{**arguments, **changes}).images


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_guard_that_never_acts_leaves_images_bit_identical(name: str, dtype: torch.dtype) -> None:
    pipe = tiny_pipeline(scheduler=SCHEDULERS[name]()).to(dtype)
    plain = run(pipe)
    with linear_guard(NEVER).attach(pipe) as watch:
        assert torch.equal(run(pipe), plain)
    assert [v.decision for v in watch.verdicts] == [Decision.ALLOWED] * 3
    assert torch.equal(run(pipe), plain)


@pytest.mark.parametrize(
    "changes",
    [
        {"guidance_scale": 1.0},
        {"prompt": "a cat", "num_images_per_prompt": 3},
        {"prompt": ["a cat"], "num_images_per_prompt": 3, "negative_prompt": ["a dog"]},
        {"generator": torch.Generator().manual_seed(4), "eta": 0.5, "output_type": "np"},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_it_stands_aside_for_every_way_of_calling(changes: dict[str, Any]) -> None:
    pipe = tiny_pipeline()
    state = changes["generator"].get_state() if "generator" in changes else None
    plain = run(pipe, **changes)
    if state is not None:
        changes["generator"].set_state(state)
    with linear_guard(NEVER).attach(pipe) as watch:
        assert np.array_equal(np.asarray(run(pipe, **changes)), np.asarray(plain))
    assert [v.image for v in watch.verdicts] == [0, 1, 2]


def steered_second(pipe: Any, policy: Policy) -> tuple[Tensor, Tensor, LinearLatentCLIP]:
    """Plain and guarded latents of three images, of which only the second scores over the threshold."""
    critic = LinearLatentCLIP()
    noise = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    noise -= critic.score(noise)[:, None, None, None] * critic.direction.detach() / critic.direction.square().mean()
    noise[1] += critic.direction.detach()
    plain = run(pipe, latents=noise)
    with linear_guard(0.1, policy, critic).attach(pipe) as watch:
        guarded = run(pipe, latents=noise)
    assert [len(v.actions) > 0 for v in watch.verdicts] == [False, True, False]
    return plain, guarded, critic


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_known_gradient_moves_only_the_unsafe_image_and_only_against_itself(name: str) -> None:
    pipe = tiny_pipeline(scheduler=SCHEDULERS[name](), blank=True)
    plain, guarded, critic = steered_second(pipe, STEER)
    assert torch.equal(guarded[[0, 2]], plain[[0, 2]])
    moved = (guarded[1] - plain[1]).flatten()
    assert torch.cosine_similarity(moved, -critic.direction.flatten(), dim=0) > 0.9999


def test_a_push_at_the_last_step_moves_the_final_latent_by_the_strength() -> None:
    pipe = tiny_pipeline(blank=True)
    policy = Policy(retries=0, block=False, window=(0.05, 0.0), strength=0.5)
    plain, guarded, critic = steered_second(pipe, policy)
    unit = critic.direction / critic.direction.square().mean().sqrt()
    torch.testing.assert_close(guarded[1], plain[1] - 0.5 * unit, atol=1e-4, rtol=1e-4)


def test_the_critic_reads_raw_latents_and_is_told_the_noise_level() -> None:
    pipe, critic = tiny_pipeline(), LinearLatentCLIP()
    with linear_guard(NEVER, model=critic).attach(pipe) as watch:
        final = run(pipe)
    torch.testing.assert_close(watch.checks[-1].scores[:, 0], critic.score(SPACE.to_raw(final)).detach())
    assert critic.levels_told == sorted(critic.levels_told, reverse=True)
    assert critic.levels_told[-1] == 0.0


def test_it_steers_under_inference_mode() -> None:
    pipe = tiny_pipeline()
    with linear_guard(ALWAYS, STEER).attach(pipe), torch.inference_mode():
        inside = run(pipe)
    with linear_guard(ALWAYS, STEER).attach(pipe):
        assert torch.equal(run(pipe), inside)
    assert not torch.equal(inside, run(pipe))


def test_a_guard_that_is_made_and_attached_under_inference_mode_steers_as_any_other() -> None:
    pipe = tiny_pipeline()
    with torch.inference_mode():
        guard = linear_guard(ALWAYS, STEER, LinearLatentCLIP())
        guard.model.direction = torch.nn.Parameter(LinearLatentCLIP().direction.detach().clone())
        attached = guard.attach(pipe)
    with torch.inference_mode(False):
        guard.model.direction = torch.nn.Parameter(torch.empty(4, 8, 8).copy_(guard.model.direction))
    with attached:
        inside = run(pipe)
    with linear_guard(ALWAYS, STEER).attach(pipe):
        assert torch.equal(run(pipe), inside)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_blocked_latent_cannot_be_had(name: str) -> None:
    """Not as the result, not in a callback, not in the scheduler's memory, not as its second output."""
    pipe = tiny_pipeline(scheduler=SCHEDULERS[name]())
    plain = run(pipe)
    seen: list[Tensor] = []

    def spy(_pipe: Any, step: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if step == 4:
            seen.append(values["latents"].clone())
        return values

    with linear_guard(ALWAYS, replace(BLOCK, abort_margin=None)).attach(pipe) as watch:
        result = run(pipe, callback_on_step_end=spy)
    assert [v.decision for v in watch.verdicts] == [Decision.BLOCKED] * 3
    for latents in (result, *seen, *getattr(pipe.scheduler, "model_outputs", [])[-1:]):
        assert not any(torch.isclose(latents[i], plain[i], atol=0.05).all() for i in range(3))
        assert (latents.std(dim=(2, 3)) < 1e-6).all(), "a neutral latent is the same at every place"
    assert len(seen) == 1


def test_the_schedulers_own_clean_estimate_is_masked_too() -> None:
    pipe = tiny_pipeline()
    pipe.scheduler.set_timesteps(1)
    sample = torch.randn(2, 4, 8, 8)
    with linear_guard(ALWAYS, BLOCK).attach(pipe):
        output = pipe.scheduler.step(torch.zeros_like(sample), pipe.scheduler.timesteps[0], sample)
    assert (output.prev_sample.std(dim=(2, 3)) < 1e-6).all()
    assert (output.pred_original_sample.std(dim=(2, 3)) < 1e-6).all()


def test_only_the_unsafe_image_of_a_batch_is_masked() -> None:
    pipe, critic = tiny_pipeline(), LinearLatentCLIP()
    plain = run(pipe)
    scores = critic.score(SPACE.to_raw(plain)).detach()
    worst, second = scores.sort(descending=True).values[:2].tolist()
    with linear_guard((worst + second) / 2, BLOCK).attach(pipe) as watch:
        result = run(pipe)
    for image, verdict in enumerate(watch.verdicts):
        assert (verdict.decision is Decision.BLOCKED) == (image == int(scores.argmax()))
        assert torch.equal(result[image], plain[image]) == (verdict.decision is Decision.ALLOWED)


def test_flagging_touches_nothing() -> None:
    pipe = tiny_pipeline()
    plain = run(pipe)
    for critic in (LinearLatentCLIP(), BrokenLatentCLIP()):
        with linear_guard(ALWAYS, FLAG, critic).attach(pipe) as watch:
            assert torch.equal(run(pipe), plain)
        assert [v.decision for v in watch.verdicts] == [Decision.FLAGGED] * 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("policy", [STEER, BLOCK], ids=["steer", "block"])
def test_a_score_that_is_not_finite_is_blocked(value: float, policy: Policy) -> None:
    pipe = tiny_pipeline()
    with linear_guard(0.0, policy, BrokenLatentCLIP(value=value)).attach(pipe) as watch:
        run(pipe)
    assert [(v.decision, v.cost.pushes) for v in watch.verdicts] == [(Decision.BLOCKED, 0)] * 3


def test_blocking_can_raise_instead() -> None:
    pipe = tiny_pipeline()
    attached = linear_guard(ALWAYS, BLOCK).attach(pipe, on_block="raise")
    with pytest.raises(BlockedError, match=r"image 0 \(violence"), attached:
        run(pipe)
    assert "step" not in vars(pipe.scheduler)


def test_a_failing_guard_stops_the_generation_and_everything_is_restored() -> None:
    pipe = tiny_pipeline()
    plain = run(pipe)
    freed: list[bool] = []
    pipe.maybe_free_model_hooks = MethodType(lambda _pipe: freed.append(True), pipe)
    with pytest.raises(GuardError, match="ValueError: out of order"):  # noqa: SIM117
        with linear_guard(0.0, model=BrokenLatentCLIP(error=ValueError("out of order"))).attach(pipe):
            run(pipe)
    assert freed
    assert "step" not in vars(pipe.scheduler)
    assert torch.equal(run(pipe), plain)


def test_a_users_exception_passes_and_everything_is_restored() -> None:
    pipe = tiny_pipeline()

    def stop(*_: Any) -> dict[str, Tensor]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), linear_guard(NEVER).attach(pipe):
        run(pipe, callback_on_step_end=stop)
    assert "step" not in vars(pipe.scheduler)


def test_an_interrupted_generation_is_reported_before_its_images_are_handed_out() -> None:
    pipe, images = tiny_pipeline(), None

    def interrupt(pipe: Any, step: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        pipe._interrupt = step == 3
        return values

    with pytest.raises(GuardError, match="not verified"), linear_guard(NEVER).attach(pipe):
        images = run(pipe, callback_on_step_end=interrupt)
    assert images is None
    assert "maybe_free_model_hooks" not in vars(pipe)


def test_a_scheduler_swapped_inside_the_block_is_reported() -> None:
    pipe = tiny_pipeline()
    with pytest.raises(GuardError, match="replaced inside"), linear_guard(NEVER).attach(pipe):
        pipe.scheduler = SCHEDULERS["euler"]()


def test_a_pipeline_is_guarded_once_at_a_time() -> None:
    pipe, guard = tiny_pipeline(), linear_guard(NEVER)
    with guard.attach(pipe), pytest.raises(InputError, match="already guarded"), guard.attach(pipe):
        pass
    with guard.attach(pipe) as watch:
        run(pipe)
        run(pipe)
    assert [v.image for v in watch.verdicts] == [0, 1, 2, 3, 4, 5]


def test_unknown_things_are_refused_when_attaching() -> None:
    pipe, guard = tiny_pipeline(), linear_guard(NEVER)
    pipe.scheduler = UnCLIPScheduler()
    with pytest.raises(UnsupportedPipelineError, match="UnCLIPScheduler"):
        guard.attach(pipe)

    class HomemadePipeline(type(pipe)):  # type: ignore[misc]
        pass

    with pytest.raises(UnsupportedPipelineError, match="HomemadePipeline"):
        guard.attach(HomemadePipeline(**tiny_pipeline().components, requires_safety_checker=False))


def test_another_vae_is_refused_by_the_canary() -> None:
    pipe = tiny_pipeline()
    picture = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    canary = Canary.made_by(pipe.vae, picture)
    guard = LatentGuard(LinearLatentCLIP(), linear_bank(NEVER), canary=canary)
    with guard.attach(pipe):
        run(pipe)
    pipe.vae.quant_conv.weight.data.mul_(-1)
    with pytest.raises(LatentSpaceMismatchError, match="is off by"):
        guard.attach(pipe)


def test_img2img_starts_late_and_is_verified_at_its_end() -> None:
    pipe = StableDiffusionImg2ImgPipeline(**tiny_pipeline().components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    arguments: dict[str, Any] = {"image": picture, "strength": 0.5, "num_inference_steps": 6, "output_type": "latent"}
    for scheduler in SCHEDULERS.values():
        pipe.scheduler = scheduler()
        with linear_guard(ALWAYS, replace(STEER, window=(0.95, 0.05))).attach(pipe) as watch:
            pipe("a cat", generator=generators(1)[0], **arguments)
        (verdict,) = watch.verdicts
        assert (verdict.decision, verdict.cost.model_evaluations) == (Decision.FLAGGED, 3)
        assert verdict.actions[0].step == 3


def test_two_threads_share_a_guard() -> None:
    guard = linear_guard(ALWAYS, STEER)
    pipes = {10: tiny_pipeline(), 20: tiny_pipeline()}  # weights are drawn here: global random numbers know no threads

    def guarded(seed: int) -> Tensor:
        pipe = pipes[seed]
        with guard.attach(pipe) as watch:
            latents = run(pipe, generator=generators(seed, seed + 1, seed + 2))
        assert len(watch.verdicts) == 3
        return latents  # type: ignore[no-any-return]

    alone = [guarded(seed) for seed in (10, 20)]
    with ThreadPoolExecutor(2) as pool:
        for together, expected in zip(pool.map(guarded, (10, 20)), alone, strict=True):
            assert torch.equal(together, expected)
