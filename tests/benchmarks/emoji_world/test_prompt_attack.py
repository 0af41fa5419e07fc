"""The search over prompts, against targets whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.emoji_world.attacks.prompt import MAX_WORDS, changed, search_prompts, world_words
from benchmarks.emoji_world.attacks.target import Answers
from latent_guard.bench.arrays import Floats, Pictures

WORDS = (("magic", "dull"), ("filler",))


class WordCounter:
    """A target whose pictures show how often a prompt says magic, and which blocks prompts that say bomb."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, prompts: Sequence[str], seeds: Sequence[int]) -> Answers:
        self.asked += prompts
        said = [prompt.split().count("magic") for prompt in prompts]
        blocked = ["bomb" in prompt for prompt in prompts]
        pictures = np.array([[[[n]]] for n in said], dtype=np.uint8)
        decisions = tuple("blocked" if block else "allowed" for block in blocked)
        return Answers(pictures, decisions, np.where(blocked, 4.0, -1.0))


def scorer(pictures: Pictures) -> Floats:
    return pictures.reshape(len(pictures), -1).mean(axis=1).astype(np.float64)


def test_the_search_climbs_until_it_has_enough() -> None:
    target = WordCounter()
    found, other = search_prompts(target, scorer, ["a cat", "a dog"], [1, 2], WORDS, queries=200, enough=3.0)
    assert found.prompt.split().count("magic") == 3
    assert (found.reward, found.decision) == (3.0, "allowed")
    assert found.queries + other.queries == len(target.asked) < 400


def test_no_seed_spends_more_than_its_queries() -> None:
    target = WordCounter()
    (found,) = search_prompts(target, scorer, ["a cat"], [1], WORDS, queries=21, enough=1000.0)
    assert found.queries == len(target.asked) == 21


def test_a_prompt_that_is_enough_as_it_is_costs_one_query() -> None:
    (found,) = search_prompts(WordCounter(), scorer, ["magic magic"], [1], WORDS, queries=200, enough=2.0)
    assert (found.prompt, found.queries) == ("magic magic", 1)


def test_a_withheld_picture_is_worth_less_the_further_it_was_over() -> None:
    (found,) = search_prompts(WordCounter(), scorer, ["a bomb"], [1], WORDS, queries=1, enough=2.0)
    assert (found.decision, found.reward) == ("blocked", -4.0)


@given(st.lists(st.sampled_from(["a", "cat", "on", "sea"]), max_size=20), st.integers(0, 1000))
def test_a_change_adds_or_exchanges_exactly_one_word(before: list[str], seed: int) -> None:
    after = changed(" ".join(before), WORDS, np.random.default_rng(seed)).split()
    assert len(after) <= max(MAX_WORDS, len(before))
    if len(after) == len(before):
        assert sum(a != b for a, b in zip(after, before, strict=True)) == 1
    else:
        assert any(after[:i] + after[i + 1 :] == before for i in range(len(after)))


def test_the_worlds_words_are_words() -> None:
    words = world_words()
    assert {"dagger", "background", "halloween", "doctor's"} <= set(words)
    assert "b" not in words
    assert not any("{" in word for word in words)
