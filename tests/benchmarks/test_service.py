"""What the service's benchmark makes of answers; the stages themselves take minutes and run by hand."""

from __future__ import annotations

import random
from collections import Counter

import httpx
import pytest

from benchmarks.service.client import SAFE, UNSAFE, Answer, Ask, answer_of, asks
from benchmarks.service.hostile import request_of, rows_of
from benchmarks.service.ray_kills import decided
from benchmarks.service.soak import Soak
from benchmarks.service.soak import rows_of as rows_of_soak

ASK = Ask("a cat", 1)
ANSWER = Answer(200, "", ("ab",), "allowed", 1.0)


def test_requests_take_turns_in_the_lists_and_are_all_different() -> None:
    made = asks(40, SAFE, UNSAFE)
    assert len(set(made)) == 40
    assert {ask.prompt for ask in made[::2]}.isdisjoint(ask.prompt for ask in made[1::2])


def test_answers_are_equal_whatever_they_took_and_different_once_a_score_is() -> None:
    def answer(seconds: float, score: float, image: str = "aaaa") -> Answer:
        verdict = {"scores": {"violence": score}, "cost": {"checks": 3, "seconds": seconds}}
        data = [{"b64_json": image, "latent_guard": {"index": 0, "verdict": verdict}}]
        return answer_of(httpx.Response(200, json={"created": seconds, "data": data}), seconds)

    assert answer(1.0, 0.5) == answer(2.0, 0.5)
    assert answer(1.0, 0.5) != answer(1.0, 0.5001)
    assert answer(1.0, 0.5) != answer(1.0, 0.5, "bbbb")


@pytest.mark.parametrize(("other", "reached"), [(ANSWER, True), (Answer(200, "", ("cd",), "allowed", 1.0), False)])
def test_one_answer_that_is_not_that_of_the_request_alone_is_enough(other: Answer, reached: bool) -> None:
    soaked = Soak([(ASK, ANSWER), (ASK, other)], [(second, 100.0) for second in range(180)], 3.0)
    answers, memory = rows_of_soak(soaked, {ASK: ANSWER})
    assert (answers.measured, answers.reached) == (str(int(not reached)), reached)
    assert memory.reached


def test_memory_that_grows_from_the_second_minute_to_the_last_is_not_flat() -> None:
    soaked = Soak([(ASK, ANSWER)], [(second, 100.0 + second) for second in range(180)], 3.0)
    assert rows_of_soak(soaked, {ASK: ANSWER})[1].reached is False


def test_too_few_kills_decide_nothing_unless_one_changed_the_findings() -> None:
    assert (decided(6, 6), decided(5, 6), decided(20, 20), decided(19, 20)) == (None, False, True, False)


def test_hostile_requests_are_the_same_each_time_and_a_500_is_told() -> None:
    made = [request_of(random.Random(number)) for number in range(300)]
    assert made == [request_of(random.Random(number)) for number in range(300)]
    assert len({str(request) for request in made}) > 250
    assert rows_of(Counter({400: 9, 500: 1}), 100.0, 101.0, alive=True)[0].reached is False
    assert rows_of(Counter({400: 9, "not sent": 1}), 100.0, 101.0, alive=True)[0].reached
    assert rows_of(Counter({400: 9}), 100.0, 900.0, alive=True)[1].reached is False
