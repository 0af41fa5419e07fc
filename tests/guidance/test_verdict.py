"""Verdicts: one JSON line each, there and back; the history of retries."""

from __future__ import annotations

import json
import math

import pytest

from latent_guard.errors import InputError
from latent_guard.guidance.outcome import retried
from latent_guard.guidance.verdict import Action, ActionKind, Cost, Decision, Reason, Verdict

PUSH = Action(ActionKind.PUSH, 0, 3, 0.5, "violence", 2.0, 1.0)
STEERED = Verdict(
    image=2,
    decision=Decision.STEERED,
    category="violence",
    scores={"violence": 0.5, "ärger": -math.inf},
    thresholds={"violence": 1.0, "ärger": 1.0},
    actions=(PUSH,),
    cost=Cost(model_evaluations=10, checks=8, pushes=1, seconds=0.25),
    prompt_words_dropped=3,
)
WHY = Reason("violence", "a knife", 2.0, 1.0, 9, 0.0)
BLOCKED = Verdict(2, Decision.BLOCKED, "violence", {"violence": 2.0}, {"violence": 1.0}, (), Cost(10, 8), reason=WHY)
ALLOWED = Verdict(0, Decision.ALLOWED, None, {"violence": 0.0}, {"violence": 1.0}, (), Cost(10, 8))


def test_a_verdict_survives_its_json_line() -> None:
    line = STEERED.to_json()
    assert "\n" not in line
    assert Verdict.from_json(line) == STEERED


def test_json_is_strict_even_for_scores_that_are_not_numbers() -> None:
    verdict = Verdict(0, Decision.BLOCKED, "x", {"x": math.nan}, {"x": 0.0})
    assert json.loads(verdict.to_json(), parse_constant=pytest.fail)["scores"] == {"x": "nan"}
    assert math.isnan(Verdict.from_json(verdict.to_json()).scores["x"])


@pytest.mark.parametrize("line", ["", "[]", "{}", "null", '{"decision": "maybe"}'])
def test_a_line_that_is_no_verdict_is_refused(line: str) -> None:
    with pytest.raises(InputError, match="not a verdict"):
        Verdict.from_json(line)


def test_a_retry_that_ends_well_is_resampled_and_keeps_history_and_cost() -> None:
    verdict = retried(ALLOWED, BLOCKED)
    assert (verdict.image, verdict.decision, verdict.category) == (2, Decision.RESAMPLED, "violence")
    assert [(action.kind, action.attempt, action.score) for action in verdict.actions] == [("retry", 1, 2.0)]
    assert verdict.cost == Cost(model_evaluations=20, checks=16, retries=1)


def test_a_second_retry_counts_on() -> None:
    verdict = retried(STEERED, retried(BLOCKED, BLOCKED))
    assert [(action.kind, action.attempt) for action in verdict.actions] == [
        ("retry", 1),
        ("retry", 2),
        ("push", 2),
    ]
    assert verdict.cost.retries == 2
    assert retried(BLOCKED, BLOCKED).decision is Decision.BLOCKED
