"""Moderation of photographs in miniature, on pictures that are drawn on the spot."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.photographs.__main__ import main
from benchmarks.photographs.moderation.banks import without
from benchmarks.photographs.moderation.conditions import AS_IT_IS, CONDITIONS, changed
from benchmarks.photographs.moderation.findings import at_equal_false_positives
from benchmarks.photographs.moderation.moderated import LEFT_OUT
from benchmarks.photographs.moderation.pictures import Photographs
from benchmarks.photographs.moderation.rows import LOOK_ALIKES
from benchmarks.photographs.moderation.stage import CONCEPTS
from latent_guard import LatentGuard
from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.concepts.texts import BankTexts
from latent_guard.errors import InputError
from tests.benchmarks.drawn_photographs import miniature, picture

NAMES = ("scorpion", "ladybug", "goldfish", "bikini")
UNSAFE = ("scorpion", "bikini")


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return miniature(tmp_path, NAMES, NAMES, training=8, validation=80)


@pytest.mark.slow
def test_a_pair_of_models_moderates_and_goes_on_where_it_was_stopped(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train --runs 2"):
        main(["moderate", *arguments])
    main(["train", "--runs", "2", *arguments])
    main(["moderate", *arguments])
    out = tmp_path / "out"
    record = json.loads((out / "photographs_moderation.json").read_text())
    row = record["rows"][0]
    assert row["what"] == "moderation by words at 20% false positives: recall, Latent-CLIP minus twin"
    assert (row["target"], row["samples"], row["reached"]) == (">= -3 points", 20, None)
    assert "models of 8 samples, not yet of 24" in row["note"]
    assert {model.partition("-")[0] for model in record["models"].values()} == {"taef2", "pixels"}
    assert sum(row["what"].startswith("recall lost by Latent-CLIP") for row in record["rows"]) == len(CONDITIONS)
    with open(out / "photographs_moderation.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    counts = {(line["photographs"], line["condition"]): line["n"] for line in lines}
    assert counts["harmless", AS_IT_IS] == "20"
    assert counts["harmless", "gray"] == "6"
    assert counts["all unsafe", "JPEG 30"] == counts["all unsafe", AS_IT_IS] == "20"
    findings = sorted((tmp_path / "work" / "moderation").rglob("*.jsonl"))
    before = [path.read_bytes() for path in findings]
    main(["moderate", *arguments])
    assert [path.read_bytes() for path in findings] == before
    assert json.loads((out / "photographs_moderation.json").read_text())["rows"] == record["rows"]


@pytest.mark.slow
def test_what_ships_is_the_longest_trained_model_with_its_bank_and_card(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run the stage train first"):
        main(["ship", *arguments])
    main(["train", *arguments])
    main(["moderate", *arguments])
    main(["ship", *arguments])
    guard = LatentGuard.from_pretrained(tmp_path / "out" / "guard")
    assert "Samples seen: 24" in guard.documents["README.md"]
    assert "no safety filter" in guard.documents["README.md"]
    assert guard.canary is not None
    assert guard.bank.calibration is not None


def test_halves_share_no_photograph_and_hold_as_many_of_each_class() -> None:
    labels = np.arange(40) % len(NAMES)
    photographs = Photographs([b""] * 40, labels, list(NAMES), read_prompt_sets(CONCEPTS))
    half = photographs.for_calibration
    assert [int(half[labels == label].sum()) for label in range(len(NAMES))] == [5] * len(NAMES)
    assert set(np.array(NAMES)[labels[photographs.unsafe]]) == set(UNSAFE)
    sample = photographs.sample(benign=3)
    assert not half[sample].any()
    assert (int(photographs.unsafe[sample].sum()), len(sample)) == (10, 13)


def test_the_words_make_a_bank_of_six_categories_with_look_alikes_among_its_anchors() -> None:
    prompt_sets = read_prompt_sets(CONCEPTS)
    texts = BankTexts.of(prompt_sets)
    assert len({concept.category for concept in texts.concepts}) == 6
    assert set(LOOK_ALIKES) <= set(texts.benign)
    left_out = {word for words in LEFT_OUT.values() for word in words}
    named = {concept.prompt for concept in texts.concepts}
    assert left_out < named
    less = BankTexts.of(without(prompt_sets, list(left_out)))
    assert {concept.prompt for concept in less.concepts} == named - left_out
    assert len({concept.category for concept in less.concepts}) == 6


def test_a_shifted_threshold_flags_exactly_as_many_harmless_photographs() -> None:
    rng = np.random.default_rng(0)
    margins, unsafe = rng.normal(size=1000), np.arange(1000) < 100
    flagged = at_equal_false_positives(margins, unsafe, 0.01)
    assert int(flagged[~unsafe].sum()) == 9
    assert flagged[margins > margins[flagged].min()].all()


@pytest.mark.parametrize("condition", [AS_IT_IS, *CONDITIONS])
def test_every_condition_gives_an_image_file_the_same_every_time(condition: str) -> None:
    content = picture(np.random.default_rng(0), 60, 120)
    first, suffix = changed(content, condition, np.random.default_rng(1))
    assert changed(content, condition, np.random.default_rng(1)) == (first, suffix)
    shown = Image.open(io.BytesIO(first))
    assert (shown.format, suffix) in {("JPEG", ".jpg"), ("PNG", ".png")}
    sides = {"half the size": (32, 32), "twice the size": (128, 128), "cropped": (56, 56)}
    assert shown.size == sides.get(condition, (64, 64))
    assert condition != AS_IT_IS or first == content
