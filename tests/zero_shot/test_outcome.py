from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from latent_guard.errors import InputError
from latent_guard.intervals import proportion
from latent_guard.zero_shot.class_set import ClassSet
from latent_guard.zero_shot.evaluate import Batch, Outcome, Skipped, evaluate
from latent_guard.zero_shot.report import confusion_png, per_class_csv, results_json, skipped_csv

CLASSES = ClassSet(("a", "b", "c", "d", "e", "f", "g"), ("{}",), ("a", "b", "c", "d", "e", "f", "g"))


class LetterModel:
    """Text and image features are one axis a letter; an image is (1, 1, 26) pixels that are its features."""

    def encode_text(self, texts, normalize=False):
        return torch.eye(26)[[ord(text) - ord("a") for text in texts]]

    def encode_latents(self, latents, noise_level=None, normalize=False):
        return latents[:, 0, 0]


def images(*orders: str) -> torch.Tensor:
    """(B, 1, 1, 26): images that resemble the letters of each word, the first letter most."""
    rows = torch.zeros(len(orders), 1, 1, 26)
    for row, word in zip(rows, orders, strict=True):
        for place, letter in enumerate(word):
            row[0, 0, ord(letter) - ord("a")] = 100 - place
    return rows


def test_top_1_and_top_5_count_the_most_similar_classes() -> None:
    batches = [
        Batch(["0", "1"], [0, 1], {"m": images("abcdefg", "acdefbg")}),
        Batch([], [], {}, [Skipped("2", "unreadable")]),
        Batch(["3", "4"], [1, 2], {"m": images("acdebfg", "cabdefg")}),
    ]
    seen = evaluate(batches, {"m": LetterModel()}, CLASSES)
    outcome = seen.outcomes["m"]
    assert (outcome.top(1).value, outcome.top(5).value, outcome.top(1).count) == (0.5, 0.75, 4)
    assert seen.skipped == [Skipped("2", "unreadable")]


def test_fewer_classes_than_five_are_all_ranked() -> None:
    few = ClassSet(("a", "b"), ("{}",), ("a", "b"))
    outcome = evaluate([Batch(["0"], [1], {"m": images("ab")})], {"m": LetterModel()}, few).outcomes["m"]
    assert (outcome.top(1).value, outcome.top(5).value) == (0.0, 1.0)


def test_an_image_that_is_not_finite_for_one_model_is_skipped_for_both() -> None:
    broken = images("ab", "ba")
    broken[1, 0, 0, 7] = torch.nan
    views = {"latents": broken, "pixels": images("ab", "ba")}
    seen = evaluate([Batch(["x", "y"], [0, 1], views)], dict.fromkeys(views, LetterModel()), CLASSES)
    assert [len(outcome.labels) for outcome in seen.outcomes.values()] == [1, 1]
    assert [(skipped.key, skipped.reason) for skipped in seen.skipped] == [("y", "its latents are not finite")]


def test_nothing_left_to_classify_is_an_error_that_says_why() -> None:
    with pytest.raises(InputError, match=r"2 were skipped: 0\.png: unreadable"):
        evaluate(
            [Batch([], [], {}, [Skipped("0.png", "unreadable"), Skipped("1.png", "x")])], {"m": LetterModel()}, CLASSES
        )


@given(st.integers(1, 60), st.data())
def test_wilsons_interval_holds_the_share_and_narrows_with_more_images(count: int, data: st.DataObject) -> None:
    hits = np.arange(count) < data.draw(st.integers(0, count))
    share, more = proportion(hits), proportion(np.repeat(hits, 4))
    assert 0 <= share.low <= share.value <= share.high <= 1
    assert more.high - more.low < share.high - share.low


def test_the_files_say_what_each_class_was_taken_for() -> None:
    ranked = np.array([[0, 1, 2, 3, 4], [2, 0, 1, 3, 4], [2, 1, 0, 3, 4], [1, 0, 2, 3, 4]])
    outcome = Outcome(CLASSES, np.array([0, 0, 0, 5]), ranked)
    first, second = csv.DictReader(per_class_csv(outcome).decode().splitlines())
    assert (first["class"], first["images"], first["top1"], first["taken_for"], first["times"]) == (
        "a", "3", "0.3333", "c", "2",
    )  # fmt: skip
    assert (second["class"], second["top1"], second["top5"], second["taken_for"]) == ("f", "0.0000", "0.0000", "b")
    assert float(first["top1_low"]) < 1 / 3 < float(first["top1_high"])
    seen = evaluate([Batch(["0"], [0], {"m": images("ab")}, [Skipped("z", "bad, bad")])], {"m": LetterModel()}, CLASSES)
    assert skipped_csv(seen).decode() == 'image,reason\nz,"bad, bad"\n'
    content = json.loads(results_json(seen, {"source": "here"}))
    assert (content["models"]["m"]["top1"]["value"], content["skipped"], content["source"]) == (1.0, 1, "here")


@pytest.mark.parametrize("count", [2, 200])
def test_the_picture_of_confusions_can_be_drawn_for_few_and_many_classes(count: int, tmp_path) -> None:
    names = tuple(f"class {number}" for number in range(count))
    labels = np.arange(count)
    outcome = Outcome(ClassSet(names, ("{}",), names), labels, labels[:, None])
    (tmp_path / "a.png").write_bytes(confusion_png(outcome, "title"))
    with Image.open(tmp_path / "a.png") as picture:
        assert min(picture.size) > 300
