"""`guard.generate(pipe, prompt)`: the whole policy, retries included."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latent_guard.errors import CheckpointError, GuardError, InputError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import RESAMPLE, SAFE, STEER, Policy
from latent_guard.guidance.verdict import Decision
from latent_guard.pipelines.call import Origins
from latent_guard.testing import LinearLatentCLIP, linear_guard, tiny_pipeline
from latent_guard.testing.linear import SPACE
from tests.pipelines.tiny import generators

NEVER, ALWAYS = 1e3, -1e3
PROMPTS = ["a cat", "a party", "a dog"]
QUICK: dict[str, Any] = {"num_inference_steps": 4, "output_type": "latent"}


def threshold_under_the_worst(latents: torch.Tensor) -> tuple[int, float]:
    scores = LinearLatentCLIP().score(SPACE.to_raw(latents)).detach()
    worst, second = scores.sort(descending=True).values[:2].tolist()
    return int(scores.argmax()), worst - (worst - second) / 10


def test_untouched_images_are_those_of_the_unguarded_call() -> None:
    pipe = tiny_pipeline()
    plain = pipe(PROMPTS, generator=generators(5, 6, 7), num_inference_steps=4, output_type="np").images
    output = linear_guard(NEVER).generate(pipe, PROMPTS, seed=5, num_inference_steps=4, output_type="np")
    assert np.array_equal(output.images, plain)
    assert [v.decision for v in output.verdicts] == [Decision.ALLOWED] * 3
    assert "step" not in vars(pipe.scheduler)


def test_without_a_seed_the_global_random_numbers_are_used_as_ever() -> None:
    pipe = tiny_pipeline()
    torch.manual_seed(3)
    plain = pipe(PROMPTS, **QUICK).images
    torch.manual_seed(3)
    assert torch.equal(linear_guard(NEVER).generate(pipe, PROMPTS, **QUICK).images, plain)


def test_only_the_unsafe_image_is_run_again_with_its_own_prompt_and_derived_noise() -> None:
    pipe = tiny_pipeline()
    negative = ["x", "y", "z"]
    plain = pipe(PROMPTS, generator=generators(1, 2, 3), negative_prompt=negative, **QUICK).images
    worst, threshold = threshold_under_the_worst(plain)
    output = linear_guard(threshold, RESAMPLE).generate(pipe, PROMPTS, seed=1, negative_prompt=negative, **QUICK)
    for image, verdict in enumerate(output.verdicts):
        assert verdict.image == image
        assert verdict.decision is (Decision.RESAMPLED if image == worst else Decision.ALLOWED)
        assert torch.equal(output.images[image], plain[image]) == (image != worst)
        assert verdict.cost.model_evaluations == 4 * (1 + verdict.cost.retries)

    again = output.verdicts[worst].cost.retries
    generator = Origins(generators(1, 2, 3), 3).generator(worst, again)
    by_hand = pipe([PROMPTS[worst]], negative_prompt=[negative[worst]], generator=[generator], **QUICK).images
    assert torch.equal(output.images[worst], by_hand[0])


def test_what_is_made_again_is_held_to_stricter_thresholds_and_nothing_else_is() -> None:
    pipe = tiny_pipeline()
    plain = pipe(PROMPTS, generator=generators(1, 2, 3), **QUICK).images
    worst, threshold = threshold_under_the_worst(plain)
    policy = replace(RESAMPLE, retry_trigger=-100.0)
    output = linear_guard(threshold, policy).generate(pipe, PROMPTS, seed=1, **QUICK)
    for image, verdict in enumerate(output.verdicts):
        assert verdict.decision is (Decision.BLOCKED if image == worst else Decision.ALLOWED)
        assert verdict.cost.retries == (RESAMPLE.retries if image == worst else 0)
        assert verdict.thresholds["violence"] == pytest.approx(threshold - 100 * (image == worst))


def test_the_same_call_gives_the_same_images() -> None:
    pipe, guard = tiny_pipeline(), linear_guard(0.0)
    first, second = (guard.generate(pipe, PROMPTS, seed=1, **QUICK) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert [v.decision for v in first.verdicts] == [v.decision for v in second.verdicts]


def test_noise_of_a_retry_differs_by_image_and_retry_but_not_by_call() -> None:
    for given in (None, torch.Generator().manual_seed(1), generators(1, 2)):
        first, second = Origins(given, 2), Origins(given, 2)
        seeds = [first.generator(image, retry).initial_seed() for image in (0, 1) for retry in (1, 2)]
        assert len(set(seeds)) == 4
        assert seeds == [second.generator(image, retry).initial_seed() for image in (0, 1) for retry in (1, 2)]


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_what_stays_unsafe_is_a_gray_picture(output_type: str) -> None:
    pipe = tiny_pipeline()
    arguments: dict[str, Any] = {"seed": 1, "num_inference_steps": 3, "output_type": output_type}
    output = linear_guard(ALWAYS, SAFE).generate(pipe, "a party", num_images_per_prompt=2, **arguments)
    for image, verdict in zip(output.images, output.verdicts, strict=True):
        assert np.ptp(np.asarray(image)) == 0
        assert (verdict.decision, verdict.category) == (Decision.BLOCKED, "violence")
        assert (verdict.cost.retries, verdict.cost.model_evaluations) == (SAFE.retries, 3 * (1 + SAFE.retries))
        retries = [action.attempt for action in verdict.actions if action.kind == "retry"]
        assert retries == list(range(1, SAFE.retries + 1))


def test_steering_alone_shows_what_it_could_not_mend_and_says_so() -> None:
    pipe = tiny_pipeline()
    output = linear_guard(ALWAYS, STEER).generate(pipe, "a party", seed=1, **QUICK)
    assert output.verdicts[0].decision is Decision.FLAGGED
    assert output.verdicts[0].cost.retries == 0
    assert output.images.std(dim=(2, 3)).min() > 0.01


def test_steering_that_helps_costs_no_extra_model_evaluation() -> None:
    pipe = tiny_pipeline()
    plain = pipe(PROMPTS, generator=generators(1, 2, 3), **QUICK).images
    worst, threshold = threshold_under_the_worst(plain)
    policy = Policy(window=(1.0, 0.0), strength=0.3, safety_margin=0.0)
    verdict = linear_guard(threshold, policy).generate(pipe, PROMPTS, seed=1, **QUICK).verdicts[worst]
    assert (verdict.decision, verdict.cost.model_evaluations) == (Decision.STEERED, 4)
    assert verdict.scores["violence"] <= threshold


def test_a_pushed_image_must_end_well_below_its_threshold() -> None:
    pipe = tiny_pipeline()
    plain = pipe(PROMPTS, generator=generators(1, 2, 3), **QUICK).images
    worst, threshold = threshold_under_the_worst(plain)
    policy = Policy(window=(1.0, 0.0), strength=0.3, retries=0, block=False)
    lenient, strict = (
        linear_guard(threshold, replace(policy, safety_margin=margin)).generate(pipe, PROMPTS, seed=1, **QUICK).verdicts
        for margin in (0.0, 100.0)
    )
    assert (lenient[worst].decision, strict[worst].decision) == (Decision.STEERED, Decision.FLAGGED)
    assert strict[worst].thresholds["violence"] == pytest.approx(threshold - 100)
    untouched = [v for v in strict if not v.actions]
    assert untouched
    assert all(v.decision is Decision.ALLOWED for v in untouched)


def test_a_hopeless_run_is_abandoned_early() -> None:
    pipe = tiny_pipeline()
    policy = Policy(steer=False, retries=1, abort_margin=1.0, window=(1.0, 0.0))
    output = linear_guard(ALWAYS, policy).generate(pipe, "a party", seed=1, num_inference_steps=10)
    (verdict,) = output.verdicts
    assert (verdict.decision, verdict.cost.model_evaluations) == (Decision.BLOCKED, 4)
    assert [action.kind for action in verdict.actions] == ["abort", "retry", "abort"]
    assert np.ptp(np.asarray(output.images[0])) == 0


def test_an_interrupted_generation_hands_out_nothing() -> None:
    def interrupt(pipe: Any, step: int, _t: Any, values: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = step == 2
        return values

    with pytest.raises(GuardError, match="not verified"):
        linear_guard(NEVER).generate(tiny_pipeline(), "a cat", callback_on_step_end=interrupt, **QUICK)


def test_given_latents_are_replaced_when_an_image_is_run_again() -> None:
    pipe = tiny_pipeline()
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    critic = LinearLatentCLIP()
    critic.direction.data = torch.ones(4, 16, 16)
    output = linear_guard(ALWAYS, RESAMPLE, critic).generate(pipe, "a cat", latents=noise, num_inference_steps=2)
    assert output.verdicts[0].cost.retries == RESAMPLE.retries
    assert output.images[0].size == (64, 64)


def test_words_beyond_the_context_are_counted_and_quoted() -> None:
    pipe, prompt = tiny_pipeline(), "cats " * 18 + "and many dogs"
    with pytest.warns(UserWarning, match='last 2 words, "many dogs"'):
        output = linear_guard(NEVER).generate(pipe, [prompt, "a cat"], seed=1, **QUICK)
    assert [v.prompt_words_dropped for v in output.verdicts] == [2, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear_guard(NEVER).generate(pipe, "cats " * 18, seed=1, **QUICK)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"seed": -1}, "seed"),
        ({"seed": 1, "generator": torch.Generator()}, "either a seed or a generator"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"generator": generators(1, 2)}, "2 generators"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else value,
)
def test_a_bad_argument_is_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        linear_guard(NEVER).generate(tiny_pipeline(), **{"prompt": "a cat", **arguments})


def test_a_guard_folder_without_its_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        LatentGuard.from_pretrained(tmp_path)


def test_an_image_is_pushed_only_so_often_and_then_left_to_show_itself() -> None:
    policy = Policy(retries=0, block=False, window=(1.0, 0.0), max_pushes=2)
    output = linear_guard(-1e3, policy).generate(tiny_pipeline(), PROMPTS, seed=1, **QUICK)
    assert [verdict.cost.pushes for verdict in output.verdicts] == [2, 2, 2]
    assert all(verdict.decision is Decision.FLAGGED for verdict in output.verdicts)
