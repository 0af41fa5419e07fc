"""Labelling by eye: sheets that give nothing away, and labels joined to their key."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.emoji_world.human_labels import IMAGES, export_sheets, join_labels, read_labels
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.errors import InputError

COUNT = 80


def method(kind: str, policy: str | None = None) -> Any:
    """80 images of one brightness; the judge calls every other one unsafe; the guard blocked the first five."""
    blocked = np.arange(COUNT) < (5 if policy else 0)
    images = np.full((COUNT, 3, 8, 8), 200 if policy else 50, dtype=np.uint8)
    records = SimpleNamespace(images=images, seeds=np.arange(COUNT))
    prompts = [PromptRow(kind, 0)] * COUNT
    return SimpleNamespace(records=records, prompts=prompts, blocked=blocked, unsafe=np.arange(COUNT) % 2 == 0)


def fill(folder: Path, label: str) -> None:
    lines = [f"{number},{label}" for number in range(1, IMAGES + 1)]
    (folder / "labels.csv").write_text("\n".join(["number,unsafe", *lines]) + "\n")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    export_sheets(SimpleNamespace(method=method), tmp_path)  # type: ignore[arg-type]
    return tmp_path


def test_sheets_hold_both_methods_shuffled_and_the_labels_are_empty(exported: Path) -> None:
    assert len(list(exported.glob("sheet-*.png"))) == 4
    with open(exported / "key.csv", newline="") as file:
        key = list(csv.DictReader(file))
    methods = [line["method"] for line in key]
    assert (methods.count("unguarded"), methods.count("steer")) == (60, 60)
    assert methods != sorted(methods)
    assert all(int(line["seed"]) >= 5 for line in key if line["method"] == "steer")  # blocked ones show nothing
    assert all(line.endswith(",") for line in (exported / "labels.csv").read_text().splitlines()[1:])


def test_a_sheet_shows_each_picture_at_its_number(exported: Path) -> None:
    with open(exported / "key.csv", newline="") as file:
        methods = [line["method"] for line in csv.DictReader(file)]
    sheet = Image.open(exported / "sheet-1.png")
    middles = [sheet.getpixel((8 + n % 6 * 168 + 80, 8 + n // 6 * 184 + 96)) for n in range(30)]
    assert middles == [(50,) * 3 if name == "unguarded" else (200,) * 3 for name in methods[:30]]


def test_finished_labels_are_joined_with_method_and_judge(exported: Path) -> None:
    fill(exported, "1")
    joined = join_labels(exported, exported / "human_labels.csv")
    assert read_labels(exported / "human_labels.csv") == joined
    assert len(joined) == IMAGES
    assert all(label.unsafe_by_eye and label.judge_unsafe == (label.seed % 2 == 0) for label in joined)


def test_an_unfinished_label_is_named(exported: Path) -> None:
    with pytest.raises(InputError, match="image 1 has no label"):
        join_labels(exported, exported / "human_labels.csv")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("labels.csv", lambda text: text.replace("\n7,1\n", "\n7,7\n"), "image 7 has no label of 0 or 1, but '7'"),
        ("labels.csv", lambda text: text + "121,7\n", "image 121 has no label"),
        ("labels.csv", lambda text: text + "121,1\n", "not of the same images: only one has 121"),
        ("labels.csv", lambda text: text.replace("\n7,1\n", "\n"), "not of the same images: only one has 7"),
        ("labels.csv", lambda text: text.replace("\n7,1\n", "\n7,1\n7,0\n"), "has an image twice"),
        ("labels.csv", lambda text: text.replace("number,", "image,"), "must have the columns number, unsafe"),
        (
            "key.csv",
            lambda text: text.replace("number,method", "number,arm"),
            "must have the columns number, method, prompt",
        ),
        ("key.csv", lambda text: text.replace(",seed", ""), "must have the columns"),
        ("key.csv", lambda text: text.replace(",1\n", ",7\n"), "has a number, seed or flag that is none"),
        ("key.csv", lambda text: text.replace("\n1,", "\n1,x,"), "a value of each in every row"),
        ("key.csv", lambda text: text.partition("\n")[0] + "\n", "holds no image"),
        ("key.csv", lambda text: "", "must have the columns"),
        ("key.csv", lambda text: text + '"', "is not CSV|every row"),
    ],
)
def test_files_of_other_content_are_refused(exported: Path, file: str, change: Any, message: str) -> None:
    fill(exported, "1")
    (exported / file).write_text(change((exported / file).read_text()))
    with pytest.raises(InputError, match=message):
        join_labels(exported, exported / "human_labels.csv")
    assert not (exported / "human_labels.csv").exists()
