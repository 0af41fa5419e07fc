"""Policies by category at work: one category acts at a time, and every verdict says which, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.texts import Concept
from latent_guard.conformance.known import SCALE, embedding
from latent_guard.errors import InputError
from latent_guard.guidance.check_schedule import CheckSchedule
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import BLOCK, FLAG, RESAMPLE, SAFE, STEER, Policies, Policy
from latent_guard.guidance.verdict import Decision, Verdict
from latent_guard.latent_clip.tokenizer import passages, tokenize, trimmed_clip_tokenizer
from latent_guard.testing import LinearLatentCLIP, linear_guard, tiny_pipeline
from latent_guard.testing.pipelines import CHANNELS, SIDE, letter_tokenizer
from tests.pipelines.tiny import generators

NEVER, ALWAYS = 1e3, -1e3
QUICK: dict[str, Any] = {"num_inference_steps": 5, "output_type": "latent"}
EVERYWHERE = (1.0, 0.0)
STEPS = 5
PATIENT = replace(BLOCK, abort_margin=None)


class TwoMinds(LinearLatentCLIP):
    """Scores a latent along one direction for violence and along another for gore; texts by their length."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Parameter(torch.randn(CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(8)))
        self.tokenizer = letter_tokenizer()

    def encode_latents(self, latents: Tensor, noise_level: float | None = None, normalize: bool = False) -> Tensor:
        first = self.score(latents)
        return embedding(first, (latents * self.other).mean(dim=(1, 2, 3)), first / 2)

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        lengths = (tokens < self.tokenizer.bos_token_id).sum(dim=1).float()
        return embedding(lengths, 0 * lengths, lengths / 2)


def guard_of(violence: float, gore: float, policies: Policy | Policies = SAFE) -> LatentGuard:
    bank = ConceptBank(
        concepts=(Concept("a knife", "violence"), Concept("blood", "gore"), Concept("a fork", "violence")),
        embeddings=torch.eye(5)[:3],
        benign_prompts=("a spoon",),
        benign=torch.eye(5)[3:4],
        fingerprint="linear",
        logit_scale=SCALE,
        noise_levels=torch.zeros(1),
        thresholds=torch.tensor([[violence], [gore]]),
    )
    return LatentGuard(TwoMinds(), bank, policies)  # type: ignore[arg-type]


def verdict_of(guard: LatentGuard, **changes: Any) -> Verdict:
    (verdict,) = guard.generate(tiny_pipeline(), **{"prompt": "a cat", "seed": 1, **QUICK, **changes}).verdicts
    return verdict


def test_each_category_has_its_own_measures() -> None:
    policies = Policies("own", FLAG, {"violence": BLOCK})
    assert verdict_of(guard_of(ALWAYS, NEVER, policies)).decision is Decision.BLOCKED
    assert verdict_of(guard_of(NEVER, ALWAYS, policies)).decision is Decision.FLAGGED


def test_a_masked_image_names_the_category_that_masked_it_not_one_that_only_flags() -> None:
    verdict = verdict_of(guard_of(-10.0, -1e3, Policies("own", FLAG, {"violence": BLOCK})))
    assert (verdict.decision, verdict.category) == (Decision.BLOCKED, "violence")
    assert verdict.reason is not None
    assert (verdict.reason.category, verdict.reason.threshold) == ("violence", -10.0)


def test_a_push_is_away_from_the_steerable_category_alone() -> None:
    steer = replace(STEER, window=EVERYWHERE, strength=3.0, max_pushes=9)
    verdict = verdict_of(guard_of(-10.0, -1e3, Policies("own", FLAG, {"violence": steer})))
    assert {action.category for action in verdict.actions} == {"violence"}
    assert verdict.cost.pushes == STEPS


def test_the_category_furthest_over_its_threshold_acts() -> None:
    steer = replace(STEER, window=EVERYWHERE, max_pushes=9)
    verdict = verdict_of(guard_of(-10.0, -1e3, steer))
    assert {action.category for action in verdict.actions} == {"gore"}


def test_each_category_has_its_own_window_and_strength() -> None:
    early = replace(STEER, window=(1.0, 0.7), strength=0.0)
    pipe = tiny_pipeline()
    plain = pipe("a cat", generator=generators(1), **QUICK).images
    output = guard_of(ALWAYS, NEVER, Policies("own", SAFE, {"violence": early})).generate(
        pipe, "a cat", seed=1, **QUICK
    )
    assert {action.noise_level >= 0.7 for action in output.verdicts[0].actions} == {True}
    torch.testing.assert_close(output.images, plain, atol=1e-3, rtol=1e-3)


def test_only_categories_with_resample_are_run_again() -> None:
    policies = Policies("own", RESAMPLE, {"gore": BLOCK})
    assert verdict_of(guard_of(ALWAYS, NEVER, policies)).cost.retries == RESAMPLE.retries
    assert verdict_of(guard_of(NEVER, ALWAYS, policies)).cost.retries == 0


def test_a_trigger_moves_the_thresholds_and_the_verdict_shows_it() -> None:
    for trigger, decision in ((0.0, Decision.FLAGGED), (100.0, Decision.ALLOWED)):
        verdict = verdict_of(guard_of(-50.0, NEVER, replace(FLAG, trigger=trigger)))
        assert verdict.decision is decision
        assert verdict.thresholds["violence"] == -50.0 + trigger


@pytest.mark.parametrize(("budget", "retries"), [(None, 4), (0.0, 0), (0.9, 0), (1.0, 1), (2.5, 2)])
def test_retries_stay_within_the_budget(budget: float | None, retries: int) -> None:
    verdict = verdict_of(guard_of(ALWAYS, NEVER, replace(RESAMPLE, retries=4, budget=budget)))
    assert verdict.decision is Decision.BLOCKED
    assert verdict.cost.model_evaluations == STEPS * (1 + retries)


def test_runs_aborted_early_leave_more_of_the_budget() -> None:
    policy = replace(RESAMPLE, retries=9, budget=1.0, abort_margin=1.0, window=EVERYWHERE)
    verdict = verdict_of(guard_of(ALWAYS, NEVER, policy))
    assert verdict.cost.retries > 1
    assert verdict.cost.model_evaluations <= 2 * STEPS


def test_only_what_can_be_masked_ends_a_run_early() -> None:
    flag, block = (replace(policy, abort_margin=1.0, window=EVERYWHERE) for policy in (FLAG, BLOCK))
    policies = Policies("own", flag, {"violence": block})
    assert verdict_of(guard_of(NEVER, ALWAYS, policies)).cost.model_evaluations == STEPS
    given_up = verdict_of(guard_of(ALWAYS, ALWAYS, policies))
    assert (given_up.cost.model_evaluations, given_up.category) == (2, "violence")


def test_a_clearly_safe_image_is_checked_twice_and_at_its_end() -> None:
    policies = Policies(
        "own", replace(SAFE, window=EVERYWHERE), check_schedule=CheckSchedule(every=2, clear_margin=5.0)
    )
    pipe = tiny_pipeline()
    plain = pipe("a cat", generator=generators(1), **QUICK).images
    output = guard_of(NEVER, NEVER, policies).generate(pipe, "a cat", seed=1, **QUICK)
    assert output.verdicts[0].cost.checks == 3
    assert torch.equal(output.images, plain)


def test_a_neighbour_that_needs_no_more_checks_does_not_change_what_is_done_about_an_image() -> None:
    pipe = tiny_pipeline()
    arguments: dict[str, Any] = {**QUICK, "num_inference_steps": 8, "generator": generators(1, 2, 3)}
    with linear_guard(NEVER).attach(pipe) as watch:
        pipe(["a", "b", "c"], **arguments)
    scores = torch.stack([check.scores[:, 0] for check in watch.checks])
    threshold = float(scores.median())
    found = []
    for schedule in (CheckSchedule(), CheckSchedule(clear_margin=1e-3)):
        policies = Policies("own", replace(STEER, window=EVERYWHERE, strength=0.1), check_schedule=schedule)
        output = linear_guard(threshold, policies).generate(  # type: ignore[arg-type]
            pipe, ["a", "b", "c"], **{**arguments, "generator": generators(1, 2, 3)}
        )
        found.append(output)
    every, adaptive = found
    assert sum(v.cost.checks for v in adaptive.verdicts) < sum(v.cost.checks for v in every.verdicts)
    still_watched = [n for n, v in enumerate(adaptive.verdicts) if v.cost.checks == 9]
    for image in still_watched:
        torch.testing.assert_close(adaptive.images[image], every.images[image])


def test_a_policy_for_a_category_that_the_bank_lacks_is_refused_when_attaching() -> None:
    guard = guard_of(NEVER, NEVER, Policies("own", SAFE, {"voilence": BLOCK}))
    with pytest.raises(InputError, match="no category 'voilence'; name one of violence, gore"):
        guard.attach(tiny_pipeline())


@pytest.mark.parametrize("policy", [SAFE, FLAG, PATIENT, STEER], ids=["safe", "flag", "block", "steer"])
@pytest.mark.parametrize("threshold", [ALWAYS, NEVER])
def test_every_verdict_says_which_concept_what_score_which_threshold_which_step(
    policy: Policy, threshold: float
) -> None:
    verdict = verdict_of(guard_of(threshold, NEVER, policy))
    why = verdict.reason
    assert why is not None
    assert (why.category, why.threshold) == ("violence", why.threshold if policy.steer else threshold)
    assert why.concept == ("a knife" if why.score > 0 else "a fork")
    assert (why.step, why.noise_level) == (STEPS - 1, 0.0)
    assert why.score == verdict.scores["violence"]
    assert verdict.category == ("violence" if threshold == ALWAYS else None)
    assert all(action.concept in ("a knife", "a fork") for action in verdict.actions)
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_an_image_that_was_steered_says_what_it_was_steered_away_from() -> None:
    pipe = tiny_pipeline()
    with linear_guard(NEVER).attach(pipe) as watch:
        pipe("a cat", generator=generators(1), **QUICK)
    highest = max(float(check.scores[0, 0]) for check in watch.checks)
    policy = replace(STEER, window=EVERYWHERE, strength=3.0, safety_margin=0.0, max_pushes=9)
    (verdict,) = linear_guard(highest - 1e-4, policy).generate(pipe, "a cat", seed=1, **QUICK).verdicts
    assert verdict.decision is Decision.STEERED
    last, why = verdict.actions[-1], verdict.reason
    assert why is not None
    assert (why.concept, why.score, why.step) == ("a knife", last.score, last.step)
    assert why.score > why.threshold


def test_the_prompts_text_is_scored_apart_and_only_flagged() -> None:
    pipe = tiny_pipeline()
    plain = pipe(["a cat", "a very long cat"], generator=generators(1, 2), **QUICK).images
    policies = Policies("own", BLOCK, prompt_trigger=6.0)
    output = guard_of(NEVER, NEVER, policies).generate(pipe, ["a cat", "a very long cat"], seed=1, **QUICK)
    assert torch.equal(output.images, plain)
    assert [v.decision for v in output.verdicts] == [Decision.ALLOWED] * 2
    asked = [v.prompt for v in output.verdicts]
    assert [score.flagged for score in asked if score] == [False, True]
    assert asked[1] is not None
    assert (asked[1].category, asked[1].concept, asked[1].threshold) == ("violence", "a knife", 6.0)
    assert asked[1].score == pytest.approx(12, abs=0.01)
    restored = Verdict.from_json(output.verdicts[1].to_json())
    assert restored.prompt == asked[1]


def test_without_being_asked_for_the_prompts_text_is_not_read() -> None:
    assert verdict_of(linear_guard(NEVER)).prompt is None  # whose model has no text tower


def test_a_refused_request_under_block_stops_early_and_says_at_which_step() -> None:
    (verdict,) = (
        guard_of(ALWAYS, NEVER, BLOCK).generate(tiny_pipeline(), "a cat", seed=1, num_inference_steps=10).verdicts
    )
    assert verdict.decision is Decision.BLOCKED
    assert verdict.cost.model_evaluations <= 6
    assert verdict.reason is not None
    assert verdict.reason.step == verdict.cost.model_evaluations - 1
    assert verdict.reason.noise_level > 0.4


@pytest.mark.parametrize(
    "text",
    [
        " ".join(f"w{number}" for number in range(40)) + " a pistol",
        "1234567890 " * 14 + "a pistol",
        "a,cat,and,a,dog," * 8 + "a,pistol",
        "刀" * 90 + " a pistol",
    ],
    ids=["words", "numbers", "no spaces", "no letters"],
)
def test_a_prompt_longer_than_the_guards_context_is_scored_to_its_end(text: str) -> None:
    tokenizer = trimmed_clip_tokenizer(merges=9000, context_length=32)
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    read = [row[1:].tolist() for row in passages(tokenizer, text)]
    bare = [row[: row.index(tokenizer.eos_token_id)] for row in read]
    assert len(whole) > 32
    half = 15
    assert [token for row in bare[:-1] for token in row[:half]] + bare[-1] == whole, (
        "each goes on in mid-way of the last"
    )


def test_a_short_prompt_is_one_passage_and_a_long_one_is_read_in_bounded_batches() -> None:
    tokenizer = trimmed_clip_tokenizer(merges=9000, context_length=32)
    assert torch.equal(passages(tokenizer, "a cat"), tokenize(tokenizer, ["a cat"]))
    guard, sizes = guard_of(NEVER, NEVER, Policies("own", FLAG, prompt_trigger=6.0)), []
    encode = guard.model.encode_text

    def counted(tokens: Tensor, normalize: bool = False) -> Tensor:
        sizes.append(len(tokens))
        return encode(tokens, normalize)

    guard.model.encode_text = counted  # type: ignore[method-assign]
    prompt = verdict_of(guard, prompt="a cat " * 20_000).prompt
    assert prompt is not None
    assert prompt.flagged
    assert len(sizes) > 1
    assert max(sizes) <= 256
