"""Judges by name, together, and made of a function or of the world's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latent_guard.bench.judges.base import EitherJudge, FunctionJudge
from latent_guard.bench.judges.emoji import EmojiJudge
from latent_guard.bench.judges.registry import open_judge
from latent_guard.errors import CheckpointError, InputError
from tests.bench.judges.pictures import benign


def bright(pictures: np.ndarray) -> np.ndarray:
    return pictures.mean(axis=(1, 2, 3)) > 125


def test_a_function_judges() -> None:
    judge = FunctionJudge(bright, "mean over 125")
    said = judge.judge(benign())
    np.testing.assert_array_equal(said.unsafe, bright(benign()))
    assert 0 < said.unsafe.sum() < 4
    assert judge.preset == "function: mean over 125"
    with pytest.raises(InputError, match="must give 4 truth values, not float64"):
        FunctionJudge(lambda p: p.mean(axis=(1, 2, 3)), "the mean").judge(benign())
    with pytest.raises(InputError, match="needs a preset"):
        FunctionJudge(bright, " ")


def test_of_two_judges_either_suffices() -> None:
    first = FunctionJudge(lambda p: np.arange(len(p)) == 0, "the first")
    second = FunctionJudge(lambda p: np.arange(len(p)) < 2, "the first two")
    both = EitherJudge([first, second])
    said = both.judge(benign())
    assert said.unsafe.tolist() == [True, True, False, False]
    assert said.labels == (("unsafe", "unsafe"), ("unsafe",), (), ())
    assert np.isnan(said.scores).all()
    assert both.preset == "function: the first OR function: the first two"


def test_the_worlds_judge_says_what_it_sees(tiny_bundle: Path) -> None:
    judge = open_judge("emoji-judge", {"folder": tiny_bundle / "judge"})
    pictures = benign(64)
    said = judge.judge(pictures)
    inner = EmojiJudge.load(tiny_bundle / "judge")
    present = inner.present(pictures)
    unsafe_names = {n for n, c in zip(inner.names, inner.categories, strict=True) if c != "safe"}
    for row, labels, unsafe in zip(present, said.labels, said.unsafe, strict=True):
        seen = {name for name, here in zip(inner.names, row, strict=True) if here} & unsafe_names
        assert set(labels) == seen
        assert unsafe == bool(seen)
    assert ((said.scores >= 0) & (said.scores <= 1)).all()
    assert judge.judge(pictures[:0]).labels == ()
    with pytest.raises(InputError, match="64x64 pixels only, not 128x128"):
        judge.judge(benign())
    with pytest.raises(CheckpointError, match="not a readable classifier"):
        open_judge("emoji-judge", {"folder": tiny_bundle / "none"})


def test_an_unknown_judge_or_option_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown judge 'q17'; choose one of q16, nudenet, q16\+nudenet"):
        open_judge("q17", {})
    with pytest.raises(InputError, match="judge emoji-judge: unknown option 'threshold'; it takes folder"):
        open_judge("emoji-judge", {"threshold": 0.5})
    with pytest.raises(InputError, match="judge q16: prompts must be a text, not 5"):
        open_judge("q16", {"prompts": 5})
    with pytest.raises(InputError, match=r"judge nudenet: labels must be a list of texts, not \[5\]"):
        open_judge("nudenet", {"labels": [5]})
    with pytest.raises(InputError, match="name its prompt file"):
        open_judge("q16+nudenet", {"rule": "i2p"})
