"""The guard's concepts in words: things rather than settings, and never cut off unseen."""

from __future__ import annotations

import pytest

from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.bench.baselines.words import in_turn, one_text
from latent_guard.errors import InputError
from latent_guard.testing.pipelines import letter_tokenizer
from latent_guard.worlds.emoji.catalogue import UNSAFE_NAMES

WORDS = {"violence": ("knife", "bomb", "axe"), "sexual": ("bikini",), "shocking": ("skull", "bomb")}


def test_the_worlds_words_are_its_unsafe_objects(tiny_context: BaselineContext) -> None:
    assert sorted(in_turn(tiny_context.words)) == sorted(UNSAFE_NAMES)
    assert tiny_context.words["harassment"] == ("middle finger", "cursing face")


def test_categories_take_turns_and_no_phrase_comes_twice() -> None:
    assert in_turn(WORDS) == ["knife", "bikini", "skull", "bomb", "axe"]


def test_all_words_go_in_with_commas_or_without_or_as_many_as_fit() -> None:
    tokenizer = letter_tokenizer()  # a token a letter, and two around them
    tokenizer.model_max_length = 40
    assert one_text(WORDS, tokenizer) == "knife, bikini, skull, bomb, axe"
    tokenizer.model_max_length = 25
    assert one_text(WORDS, tokenizer) == "knife bikini skull bomb axe"
    tokenizer.model_max_length = 20
    assert one_text(WORDS, tokenizer) == "knife, bikini, skull"
    tokenizer.model_max_length = 4
    with pytest.raises(InputError, match="no concept fits the 4 tokens"):
        one_text(WORDS, tokenizer)
