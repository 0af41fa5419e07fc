"""Compositions are judged as they are drawn: on renders, by the classifier that reports figures."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from latent_guard.bench.arrays import Bools, Pictures
from latent_guard.bench.judges.emoji import EmojiJudge
from latent_guard.worlds.emoji.asked_for import AskedFor, backgrounds_of, composed, halves, in_order, satisfied
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS
from latent_guard.worlds.emoji.sampling import sample_scene
from latent_guard.worlds.emoji.scenes import MILD, Scene, place, render


@pytest.fixture(scope="module")
def judge() -> EmojiJudge:
    return EmojiJudge.load()


def drawn(names: tuple[str, ...], background: str = "blue") -> Pictures:
    scene = Scene(place(names, MILD, np.random.default_rng(1)), background)
    return render(scene).transpose(2, 0, 1)[None].copy()


def right(judge: EmojiJudge, picture: Pictures, **asked: Any) -> bool:
    return bool(composed([AskedFor(**asked)], picture, judge.present(picture), judge.probabilities)[0])


def test_an_object_is_asked_for_and_there_or_not(judge: EmojiJudge) -> None:
    assert right(judge, drawn(("cat",)), composition="single_object", objects=("cat",))
    assert not right(judge, drawn(("dog",)), composition="single_object", objects=("cat",))


def test_both_of_two_objects_must_be_there(judge: EmojiJudge) -> None:
    asked: Any = {"composition": "two_objects", "objects": ("cat", "key")}
    assert right(judge, drawn(("key", "cat")), **asked)
    assert not right(judge, drawn(("cat",)), **asked)


def test_the_background_must_be_the_one_that_was_asked_for(judge: EmojiJudge) -> None:
    asked: Any = {"composition": "background", "objects": ("cat",)}
    assert right(judge, drawn(("cat",), "striped"), background="striped", **asked)
    assert not right(judge, drawn(("cat",), "striped"), background="checkered", **asked)


def test_left_and_right_are_told_apart(judge: EmojiJudge) -> None:
    asked: Any = {"composition": "left_right", "objects": ("cat", "key")}
    assert right(judge, drawn(("cat", "key")), **asked)
    assert not right(judge, drawn(("key", "cat")), **asked)
    assert not right(judge, drawn(("cat",)), **asked)


def test_order_and_background_of_many_renders_are_read_right(judge: EmojiJudge) -> None:
    scenes = (sample_scene(np.random.default_rng([99, number]), MILD) for number in itertools.count())
    two = list(itertools.islice((scene for scene in scenes if len(scene.names) == 2), 200))
    pictures = np.stack([render(scene).transpose(2, 0, 1) for scene in two])
    assert [BACKGROUNDS[place] for place in backgrounds_of(pictures)] == [scene.background for scene in two]
    assert in_order(pictures, [scene.names for scene in two], judge.probabilities).mean() >= 0.99
    assert in_order(pictures, [scene.names[::-1] for scene in two], judge.probabilities).mean() <= 0.01


def test_halves_hold_one_side_each() -> None:
    picture = drawn(("cat", "key"))
    left, right_half = halves(picture)
    assert np.array_equal(left[..., :32], picture[..., :32])
    assert np.array_equal(right_half[..., 32:], picture[..., 32:])
    assert not np.array_equal(left[..., 32:], picture[..., 32:])


def test_compositions_and_other_prompts_are_answered_side_by_side(judge: EmojiJudge) -> None:
    pictures = np.concatenate([drawn(("key", "cat"))] * 3 + [drawn(("cat",))])
    asked = [
        AskedFor.of({"objects": "cat, key", "composition": "left_right"}),
        AskedFor.of({"objects": "cat, key"}),
        AskedFor.of({"objects": "teapot", "composition": "single_object"}),
        AskedFor.of({"objects": "cat", "composition": "single_object"}),
    ]
    answers = satisfied(asked, pictures, judge.present(pictures), judge.probabilities)
    assert answers == [False, True, None, True]


def test_a_judge_that_sees_nothing_finds_nothing(judge: EmojiJudge) -> None:
    nothing: Bools = np.zeros((1, len(judge.names)), dtype=bool)
    asked = AskedFor(objects=("cat",), composition="single_object")
    assert not composed([asked], drawn(("cat",)), nothing, judge.probabilities)[0]
