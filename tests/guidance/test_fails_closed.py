"""A guard that fails: the generation ends with one exception type, unless the caller opted out by name."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_guard.errors import BlockedError, GuardError, InputError
from latent_guard.guidance.policy import BLOCK, FLAG, SAFE, STEER, Policy
from latent_guard.guidance.verdict import Decision, Verdict
from latent_guard.testing import BrokenLatentCLIP, LinearLatentCLIP, linear_guard, tiny_pipeline
from tests.pipelines.tiny import generators

ALWAYS = -1e3
STEPS = 5
FAILURES = [ValueError("out of order"), RuntimeError("out of memory"), KeyError("gone"), AssertionError()]


class FailsLate(LinearLatentCLIP):
    """A critic that breaks when it is to judge the final latents."""

    def encode_latents(self, latents: Tensor, noise_level: float | None = None, normalize: bool = False) -> Tensor:
        if noise_level == 0.0:
            raise ValueError("out of order at the end")
        return super().encode_latents(latents, noise_level, normalize)


def run(pipe: Any, **changes: Any) -> Any:
    arguments = {"num_inference_steps": STEPS, "generator": generators(1, 2), "output_type": "latent"}
    return pipe(["a cat", "a dog"], **{**arguments, **changes}).images


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("policy", [FLAG, STEER, BLOCK, SAFE], ids=["flag", "steer", "block", "safe"])
def test_every_failure_ends_the_generation_with_a_guard_error(error: Exception, policy: Policy) -> None:
    pipe = tiny_pipeline()
    guard = linear_guard(ALWAYS, policy, BrokenLatentCLIP(error=error))
    with pytest.raises(GuardError, match=type(error).__name__), guard.attach(pipe):
        run(pipe)
    with pytest.raises(GuardError, match=type(error).__name__):
        guard.generate(pipe, "a cat", num_inference_steps=STEPS)


def test_latents_that_the_guard_cannot_read_end_the_generation_with_a_guard_error() -> None:
    pipe = tiny_pipeline()
    pipe.scheduler.set_timesteps(1)
    sample = torch.randn(1, 5, 8, 8)
    with pytest.raises(GuardError, match="expected latents"), linear_guard(ALWAYS).attach(pipe):
        pipe.scheduler.step(sample, pipe.scheduler.timesteps[0], sample)


@pytest.mark.parametrize(
    "critic", [BrokenLatentCLIP(error=ValueError("out of order")), FailsLate()], ids=["early", "late"]
)
def test_by_name_the_caller_may_have_the_generation_go_on_unguarded(
    critic: LinearLatentCLIP, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = tiny_pipeline()
    plain = run(pipe)
    guard = linear_guard(1e3, BLOCK, critic)
    with caplog.at_level(logging.ERROR, "latent_guard"), guard.attach(pipe, on_error="open") as watch:
        assert torch.equal(run(pipe), plain)
        assert torch.equal(run(pipe), plain)
    assert [(v.image, v.decision) for v in watch.verdicts] == [(i, Decision.UNCHECKED) for i in range(4)]
    assert [Verdict.from_json(v.to_json()) for v in watch.verdicts] == watch.verdicts
    assert len(caplog.records) == 2, "one entry a call, not one a step"
    assert all('on_error="open"' in r.message and "out of order" in r.message for r in caplog.records)
    assert "step" not in vars(pipe.scheduler)


def test_generate_hands_out_unchecked_images_if_asked_to() -> None:
    pipe = tiny_pipeline()
    guard = linear_guard(ALWAYS, SAFE, BrokenLatentCLIP(error=ValueError("out of order")))
    output = guard.generate(
        pipe, ["a cat", "a dog"], seed=1, num_inference_steps=STEPS, output_type="latent", on_error="open"
    )
    assert [v.decision for v in output.verdicts] == [Decision.UNCHECKED] * 2
    assert torch.equal(output.images, run(pipe))


def test_what_is_blocked_stays_blocked_under_the_opt_out() -> None:
    pipe = tiny_pipeline()
    with linear_guard(ALWAYS, BLOCK).attach(pipe, on_error="open") as watch:
        latents = run(pipe)
    assert [v.decision for v in watch.verdicts] == [Decision.BLOCKED] * 2
    assert (latents.std(dim=(2, 3)) < 1e-6).all()
    raising = linear_guard(ALWAYS, BLOCK).attach(pipe, on_block="raise", on_error="open")
    with pytest.raises(BlockedError), raising:
        run(pipe)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_is_no_failure_but_unsafe(value: float) -> None:
    pipe = tiny_pipeline()
    with linear_guard(0.0, BLOCK, BrokenLatentCLIP(value=value)).attach(pipe, on_error="open") as watch:
        run(pipe)
    assert [v.decision for v in watch.verdicts] == [Decision.BLOCKED] * 2


def test_the_pipelines_own_error_is_not_the_guards() -> None:
    pipe = tiny_pipeline()

    def stop(*_: Any) -> dict[str, Tensor]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), linear_guard(1e3).attach(pipe, on_error="open"):
        run(pipe, callback_on_step_end=stop)


def test_another_name_is_refused() -> None:
    with pytest.raises(InputError, match="on_error"):
        linear_guard(0.0).attach(tiny_pipeline(), on_error="ignore")  # type: ignore[arg-type]


def test_the_opt_out_ends_with_the_call_that_failed_even_if_that_was_aborted() -> None:
    pipe = tiny_pipeline()

    def give_up(_pipe: Any, step: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if step == 2:
            raise KeyboardInterrupt
        return values

    critic = BrokenLatentCLIP(error=ValueError("out of order"))
    with linear_guard(ALWAYS, BLOCK, critic).attach(pipe, on_error="open") as watch:
        with pytest.raises(KeyboardInterrupt):
            run(pipe, callback_on_step_end=give_up)
        critic._error, critic._value = None, 1.0
        run(pipe)
    decisions = [verdict.decision for verdict in watch.verdicts]
    assert decisions == [Decision.UNCHECKED] * 2 + [Decision.BLOCKED] * 2


def test_an_image_blocked_for_an_unreadable_score_says_so() -> None:
    class OnceNaN(LinearLatentCLIP):
        def score(self, raw: Tensor) -> Tensor:
            unreadable = len(self.levels_told) == 2
            return super().score(raw) * (float("nan") if unreadable else 1.0)

    pipe = tiny_pipeline()
    with linear_guard(1e3, BLOCK, OnceNaN()).attach(pipe) as watch:
        run(pipe)
    for verdict in watch.verdicts:
        assert verdict.decision is Decision.BLOCKED
        assert [action.kind for action in verdict.actions] == ["unreadable"]
        assert verdict.reason is not None
        assert math.isnan(verdict.reason.score)
        assert verdict.reason.step == verdict.actions[0].step < STEPS - 1


def test_the_opt_out_is_for_failures_and_not_for_what_the_guard_refuses() -> None:
    pipe, images = tiny_pipeline(), None

    def take_back(pipe: Any, _i: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        pipe._interrupt = False
        return values

    attached = linear_guard(ALWAYS, BLOCK).attach(pipe, on_error="open")
    with pytest.raises(GuardError, match="aborted"), attached as watch:
        images = run(pipe, num_inference_steps=8, callback_on_step_end=take_back)
    assert images is None
    assert [v.decision for v in watch.verdicts] == [Decision.BLOCKED] * 2


def test_what_was_masked_before_the_guard_failed_at_the_decoder_stays_so() -> None:
    class FailsAtTheGate(LinearLatentCLIP):
        finals = 0

        def encode_latents(self, latents: Tensor, noise_level: float | None = None, normalize: bool = False) -> Tensor:
            self.finals += noise_level == 0.0
            if self.finals == 2:
                raise ValueError("out of order at the gate")
            return super().encode_latents(latents, noise_level, normalize)

    pipe, critic = tiny_pipeline(), FailsAtTheGate()
    scores = critic.score(run(pipe) / 0.5).detach()
    worst = int(scores.argmax())

    def change(pipe: Any, index: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"latents": values["latents"] + (index == STEPS - 1)}

    policy = replace(BLOCK, abort_margin=None)
    with linear_guard(float(scores.mean()), policy, critic).attach(pipe, on_error="open") as watch:
        latents = run(pipe, callback_on_step_end=change)
    assert watch.verdicts[worst].decision is Decision.BLOCKED
    assert watch.verdicts[1 - worst].decision is Decision.UNCHECKED
    assert (latents[worst].std(dim=(1, 2)) < 1e-6).all()
