"""The benchmark of photographs in miniature, on pictures that are drawn on the spot."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.photographs.__main__ import main
from benchmarks.photographs.classify import Ranks
from benchmarks.photographs.cost import gflop
from benchmarks.photographs.report import FROM_PIXELS, OTHER_PATCH, TITLES, Measured, difference, rows_of, samples_for
from benchmarks.photographs.runs import Settings, planned
from benchmarks.photographs.sizes import FULL
from benchmarks.photographs.views import caption, view_of
from benchmarks.photographs.workplace import LATENTS, PIXELS
from tests.benchmarks.drawn_photographs import miniature, picture

NAMES = ("goldfish", "black widow", "lawn mower")
SYNONYMS = ("goldfish, Carassius auratus", "black widow", "lawn mower, mower")


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return miniature(tmp_path, NAMES, SYNONYMS, training=20, validation=6)


@pytest.mark.slow
def test_every_stage_runs_and_goes_on(arguments: list[str], tmp_path: Path) -> None:
    for stage in ("encode", "search", "train", "sana", "cost", "report"):
        main([stage, *arguments])
    found = json.loads((tmp_path / "out" / "photographs.json").read_text())
    assert all(row["reached"] is not None for row in found["rows"])
    of_photographs = [row for row in found["rows"] if "of a look" not in row["what"]]
    assert len(of_photographs) == len(found["rows"]) - 2
    assert {row["samples"] for row in of_photographs} == {6}
    assert any(row["what"].startswith("Sana's latents") for row in found["rows"])
    assert {*TITLES.values(), FROM_PIXELS} <= {title.rpartition(", ")[0] for title in found["top1"]}
    written = sorted((tmp_path / "work").rglob("*.npz"))
    times = [path.stat().st_mtime_ns for path in written]
    main(["train", *arguments])
    assert [path.stat().st_mtime_ns for path in written] == times


def test_a_caption_names_the_class_or_a_synonym() -> None:
    rng = np.random.default_rng(0)
    texts = {caption(["lawn mower", "mower"], ["a sketch of a {}."], rng) for _ in range(50)}
    things, ways = ("lawn mower", "mower"), ("a photo of a {}.", "a sketch of a {}.")
    assert texts == {way.replace("{}", thing) for thing in things for way in ways}


def test_the_second_view_is_the_mirror_image_and_others_are_parts() -> None:
    rng = np.random.default_rng(0)
    content = picture(rng)
    first, second, third = (np.asarray(Image.open(io.BytesIO(view_of(content, number, rng)))) for number in range(3))
    assert np.array_equal(second, first[:, ::-1])
    assert third.shape == first.shape
    assert not np.array_equal(third, first)


def test_runs_come_in_pairs_the_smallest_budget_first() -> None:
    runs = planned(FULL, Settings())
    assert [(run.reads, run.samples, run.seed) for run in runs[:4]] == [
        (reads, FULL.budgets[0], seed) for seed in (0, 1) for reads in (LATENTS, PIXELS)
    ]
    assert len({run.name for run in runs}) == len(runs)


def test_a_twin_of_finer_patches_comes_last_beside_one_of_as_many_tokens() -> None:
    usual, finer = planned(FULL, Settings()), planned(FULL, Settings(patch=4))
    assert finer[: len(usual)] == usual
    assert {(run.reads, run.settings.patch) for run in finer[len(usual) :]} == {(PIXELS, 4)}


def test_the_difference_is_paired_by_photograph() -> None:
    labels = np.arange(100) % 3
    right = np.stack([labels, (labels + 1) % 3], axis=1)
    wrong = np.where(np.arange(100)[:, None] < 20, right[:, ::-1], right)  # a fifth is only second
    found = {
        (TITLES[LATENTS], 8): Measured([Ranks(labels, right)]),
        (TITLES[PIXELS], 8): Measured([Ranks(labels, wrong)]),
    }
    row = difference(found, TITLES[PIXELS], 8, 10.0)
    assert row.measured.startswith("+20.0 (")
    assert row.reached
    assert not difference(found, TITLES[PIXELS], 8, 30.0).reached


def test_a_twin_that_prefers_finer_patches_has_rows_of_its_own_that_are_open_until_it_is_trained() -> None:
    same, finer = (rows_of({}, FULL, settings, searched=True) for settings in (Settings(), Settings(patch=4)))
    added = [row for row in finer if OTHER_PATCH in row.what]
    assert len(finer) == len(same) + len(FULL.budgets) + 1
    assert [row.target for row in added] == [">= +10 points", "reported", ">= +0 points", "<= 1/3"]
    assert all(row.reached is None for row in added)


def test_the_arithmetic_of_attention_is_counted_whole() -> None:
    attention, tokens = torch.nn.MultiheadAttention(16, 2, batch_first=True).eval(), torch.zeros(1, 5, 16)
    projections, similarities_and_sums = 2 * 5 * 16 * (3 * 16 + 16), 2 * 2 * 5 * 5 * 16
    with torch.inference_mode():
        counted = gflop(lambda: attention(tokens, tokens, tokens, need_weights=False))
    assert counted * 1e9 == pytest.approx(projections + similarities_and_sums)


def test_samples_for_an_accuracy_lie_between_budgets() -> None:
    curve = {100: 0.1, 400: 0.3}
    assert samples_for(0.2, curve) == pytest.approx(200)
    assert samples_for(0.05, curve) == 100
    assert math.isinf(samples_for(0.5, curve))
