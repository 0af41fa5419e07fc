"""The choice of a policy, on a pipeline whose scores are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from latent_guard.fitting import pushes
from latent_guard.fitting.guarded import GuardedImages
from latent_guard.fitting.pushes import (
    COST_OF_MISSED,
    MOST_PUSHES,
    NO_PUSHES,
    RETRIES,
    RETRY_TRIGGERS,
    SAFETY_MARGINS,
    STRENGTHS,
    Choice,
    Trial,
    choose_policy,
)
from latent_guard.fitting.record import Job
from latent_guard.guidance.policy import BLOCK, FLAG, RESAMPLE, STEER, Policy
from latent_guard.guidance.verdict import Cost, Decision, Verdict

JOBS = [Job("a dagger", seed, "violence") for seed in range(10)]


def outcomes(monkeypatch: pytest.MonkeyPatch, share_settled: Any) -> list[Policy]:
    """Stands in for guarded generations: of ten images so many end safe and accepted, the rest unsafe, half of these
    accepted with a thin margin; gives the policies that were run."""
    ran: list[Policy] = []

    def run_guarded(guard: Any, pipe: Any, jobs: Any, policy: Policy, *_: Any) -> GuardedImages:
        ran.append(policy)
        safe = round(10 * share_settled(policy))
        verdicts = [_verdict(-9.0)] * safe + [_verdict(-0.3 if n % 2 else 1.0) for n in range(10 - safe)]
        unsafe, spoilt = (False,) * safe + (True,) * (10 - safe), (False,) * 10
        return GuardedImages(tuple(verdicts), unsafe, spoilt, torch.zeros(10, 3, 8, 8))

    monkeypatch.setattr(pushes, "run_guarded", run_guarded)
    return ran


def _verdict(margin: float) -> Verdict:
    decision = Decision.STEERED if margin <= 0 else Decision.FLAGGED
    return Verdict(0, decision, "violence", {"violence": margin}, {"violence": 0.0}, cost=Cost(pushes=1))


def test_the_length_that_settles_most_is_chosen_with_a_margin_that_misses_nothing(monkeypatch) -> None:
    ran = outcomes(monkeypatch, lambda policy: {1.5: 0.2, 3.0: 0.6, 6.0: 0.8, 9.0: 0.5}[policy.strength])
    choice = choose_policy(None, None, JOBS, None, {})
    assert choice.policy.strength == 6.0
    assert choice.policy.steer
    assert choice.policy.block
    assert choice.policy.retries == 0  # they settle nothing more here
    assert choice.policy.safety_margin == 0.5  # the least that refuses the thin ones
    assert {policy.strength for policy in ran} == set(STRENGTHS)
    assert {policy.max_pushes for policy in ran} == set(MOST_PUSHES)
    # A margin is applied to what was seen, never twice; but what is made again depends on it.
    assert {policy.safety_margin for policy in ran if not policy.retries} == {0.0}
    again = [policy for policy in ran if policy.retries]
    assert {(policy.retries, policy.safety_margin) for policy in again if policy.max_pushes} == {
        (n, 0.5) for n in RETRIES
    }
    assert {policy.retries for policy in again if not policy.max_pushes} == set(RETRIES)
    assert len(choice.trials) == (len(ran) - len(again)) * len(SAFETY_MARGINS) + len(again)
    assert "pushes of 6" in choice.words


def test_a_setting_that_is_worse_than_what_was_tried_before_is_not_built_on(monkeypatch) -> None:
    def share(policy: Policy) -> float:
        good = policy.window[1] == 0.4
        return {True: 0.8, False: 0.3}[good] - 0.01 * abs(policy.max_pushes - 4) - 0.05 * abs(policy.strength - 3)

    outcomes(monkeypatch, share)
    policy = choose_policy(None, None, JOBS, None, {}).policy
    assert (policy.strength, policy.window[1]) == (3.0, 0.4)


def test_where_no_push_helps_the_policy_says_so_and_blocks(monkeypatch) -> None:
    """Without pushes, nine of ten unsafe images are refused at once; pushed, they pass."""

    def run_guarded(guard: Any, pipe: Any, jobs: Any, policy: Policy, *_: Any) -> GuardedImages:
        seen = 9 if policy.max_pushes == 0 else 1
        verdicts = (_verdict(2.0),) * seen + (_verdict(-9.0),) * (10 - seen)
        return GuardedImages(verdicts, (True,) * 10, (False,) * 10, torch.zeros(10, 3, 8, 8))

    monkeypatch.setattr(pushes, "run_guarded", run_guarded)
    choice = choose_policy(None, None, JOBS, None, {})
    assert choice.policy.max_pushes == 0
    assert choice.policy.block
    assert choice.words == (
        "no pushes, which on dev images was worth more than any push: what any look finds unsafe is blocked"
    )


@pytest.mark.parametrize(("again_safe", "retries"), [(0.9, RETRIES[0]), (0.1, 0)])
def test_images_are_made_again_where_that_settles_more_than_slips_through(monkeypatch, again_safe, retries) -> None:
    """Half of the unsafe images are found; made again, these end safe, or unsafe and unseen."""

    def run_guarded(guard: Any, pipe: Any, jobs: Any, policy: Policy, *_: Any) -> GuardedImages:
        if policy.max_pushes:
            return GuardedImages((_verdict(-9.0),) * 10, (True,) * 10, (False,) * 10, torch.zeros(10, 3, 8, 8))
        found = _verdict(-9.0) if policy.retries else _verdict(2.0)
        again = round(5 * again_safe) if policy.retries else 0
        unsafe = (True,) * (10 - again) + (False,) * again
        return GuardedImages((_verdict(-9.0),) * 5 + (found,) * 5, unsafe, (False,) * 10, torch.zeros(10, 3, 8, 8))

    monkeypatch.setattr(pushes, "run_guarded", run_guarded)
    choice = choose_policy(None, None, JOBS, None, {})
    assert choice.policy.retries == retries
    assert (f"up to {RETRIES[0]} times" in choice.words) == bool(retries)


def test_an_image_that_is_made_again_is_looked_at_more_strictly_where_fewer_slip_through_then(monkeypatch) -> None:
    """Of images that are made again, half slip through, and none where the thresholds are lower by as much as any."""

    def run_guarded(guard: Any, pipe: Any, jobs: Any, policy: Policy, *_: Any) -> GuardedImages:
        slips = 0 if policy.retry_trigger == min(RETRY_TRIGGERS) else 1
        verdicts = (_verdict(-9.0 if policy.retries else 2.0),) * 10
        unsafe = (True,) * slips + (False,) * (10 - slips)
        return GuardedImages(verdicts, unsafe, (False,) * 10, torch.zeros(10, 3, 8, 8))

    monkeypatch.setattr(pushes, "run_guarded", run_guarded)
    choice = choose_policy(None, None, JOBS, None, {})
    assert choice.policy.retry_trigger == min(RETRY_TRIGGERS)
    assert "at thresholds lower by 4" in choice.words


def test_a_pipeline_that_shows_nothing_unsafe_is_guarded_without_pushes() -> None:
    choice = choose_policy(None, None, [], None, {})
    assert choice.policy.block
    assert choice.policy.max_pushes == 0
    assert "no dev image was unsafe" in choice.words


def test_without_pushes_every_look_is_made_whatever_window_is_best_for_pushes(monkeypatch) -> None:
    ran = outcomes(monkeypatch, lambda policy: {0.4: 0.2, 0.6: 0.3, 0.8: 0.7}[policy.window[1]])
    assert choose_policy(None, None, JOBS, None, {}).policy.window[1] == 0.8
    assert {policy.window[1] for policy in ran if not policy.max_pushes} == {0.4}


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (FLAG, "what is unsafe at the end is flagged"),
        (BLOCK, "what is unsafe at the end is blocked"),
        (RESAMPLE, "what is unsafe at the end is made again up to 3 times, and then blocked"),
        (STEER, "what stays unsafe is flagged"),
        (NO_PUSHES, "what any look finds unsafe is blocked"),
    ],
)
def test_words_are_of_the_policy_whichever_it_is(policy: Policy, words: str) -> None:
    """`fit --refresh --policy` takes any."""
    found = Choice(policy, ()).words
    assert found.endswith(words)
    assert ("pushes of" in found) == policy.pushes


def test_an_unsafe_image_that_is_handed_out_undoes_several_settled_ones() -> None:
    assert Trial(3.0, 0.4, 4, 0.0, 0, 0.0, 10, 0.6, 0.1, 0.0).worth == pytest.approx(0.6 - COST_OF_MISSED * 0.1)
    assert Trial(3.0, 0.4, 4, 0.0, 0, 0.0, 10, 0.6, 0.1, 0.1).worth == pytest.approx(0.5 - COST_OF_MISSED * 0.1)


def test_longer_pushes_that_break_images_are_not_chosen(monkeypatch) -> None:
    """The longest leaves nothing unsafe, and nothing of the image either."""

    def run_guarded(guard: Any, pipe: Any, jobs: Any, policy: Policy, *_: Any) -> GuardedImages:
        broken = 10 if policy.strength == 9.0 else 0
        unsafe = {9.0: 0, 6.0: 3}.get(policy.strength, 8)
        flags = (True,) * unsafe + (False,) * (10 - unsafe), (True,) * broken + (False,) * (10 - broken)
        return GuardedImages((_verdict(-9.0),) * 10, *flags, torch.zeros(10, 3, 8, 8))

    monkeypatch.setattr(pushes, "run_guarded", run_guarded)
    choice = choose_policy(None, None, JOBS, None, {})
    assert choice.policy.strength == 6.0
    assert max(trial.spoilt for trial in choice.trials if trial.strength == 9.0) == 1.0
