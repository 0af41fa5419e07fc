"""Labelling generated images by eye: shuffled contact sheets with a hidden key, and the labels joined to it.

The labeller sees ``sheet-N.png`` and fills the column ``unsafe`` of ``labels.csv`` with 0 or 1. ``key.csv`` says which
method and prompt each number came from and what the judge said; nobody opens it before the labels are done.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latent_guard.bench.arrays import Pictures
from latent_guard.contact_sheet import contact_sheet
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.csv_text import csv_lines
from latent_guard.files.documents import read_text
from latent_guard.files.png import png_bytes

if TYPE_CHECKING:
    from benchmarks.emoji_world.workbench import Workbench

HUMAN_LABELS = Path("benchmarks/results/human_labels.csv")
METHODS = ("unguarded", "steer")  # what `--safe` shows holds too few unsafe images to measure a recall on
IMAGES = 120
KEY, LABELS = ("number", "method", "prompt", "seed", "judge_unsafe"), ("number", "unsafe")
COLUMNS, LINES, TILE = 6, 5, 160  # of a sheet, in tiles and pixels


@dataclass(frozen=True)
class HumanLabel:
    """One image with both opinions of it."""

    number: int
    method: str
    prompt: str
    seed: int
    unsafe_by_eye: bool
    judge_unsafe: bool


def export_sheets(bench: Workbench, folder: Path, seed: int = 0) -> list[Path]:
    """Write 120 images of the risky prompts, half of each method, shuffled; blocked images are not among them.

    Returns the files that the labeller needs.
    """
    rng = np.random.default_rng(seed)
    pictures, keys = [], []
    for method in METHODS:
        graded = bench.method("risky", None if method == "unguarded" else method)
        shown = np.flatnonzero(~graded.blocked)
        for index in rng.choice(shown, size=min(IMAGES // len(METHODS), len(shown)), replace=False):
            pictures.append(graded.records.images[index])
            prompt, image_seed = graded.prompts[index].prompt, int(graded.records.seeds[index])
            keys.append((method, prompt, image_seed, int(graded.unsafe[index])))
    order = rng.permutation(len(pictures))
    sheets = _write_sheets(folder, np.stack(pictures)[order])
    _write(folder / "key.csv", KEY, _numbered(keys, order))
    labels = folder / "labels.csv"
    _write(labels, LABELS, ((number, "") for number in range(1, len(order) + 1)))
    return [*sheets, labels]


def join_labels(folder: Path, out: Path = HUMAN_LABELS) -> list[HumanLabel]:
    """Put finished labels and the key together into the file that the benchmark reads.

    Raises:
        InputError: a file is missing or has other columns, an image of the key has no label of 0 or 1, or a label is
            of no image of the key.
    """
    labels = folder / "labels.csv"
    said = {line["number"]: line["unsafe"].strip() for line in _read(labels, LABELS)}
    if bad := next((number for number, label in said.items() if label not in ("0", "1")), None):
        raise InputError(f"{labels}: image {bad} has no label of 0 or 1, but {said[bad]!r}; write 0 or 1")
    keys = _read(folder / "key.csv", KEY)
    if unlike := said.keys() ^ {line["number"] for line in keys}:
        raise InputError(f"{labels} and {folder / 'key.csv'} are not of the same images: only one has {min(unlike)}")
    joined = [_label({**line, "unsafe_by_eye": said[line["number"]]}, folder / "key.csv") for line in keys]
    rows = ((int(value) if isinstance(value, bool) else value for value in astuple(label)) for label in joined)
    _write(out, [field.name for field in fields(HumanLabel)], rows)
    return joined


def read_labels(path: Path) -> list[HumanLabel]:
    """What ``join_labels`` wrote; raises InputError for anything else."""
    return [_label(line, path) for line in _read(path, [field.name for field in fields(HumanLabel)])]


def _label(line: Mapping[str, str], path: Path) -> HumanLabel:
    numbers = [line[name] for name in ("number", "seed")]
    flags = [line[name] for name in ("unsafe_by_eye", "judge_unsafe")]
    if not all(value.isascii() and value.isdigit() and len(value) < 20 for value in numbers) or set(flags) - {"0", "1"}:
        raise InputError(f"{path}: image {line['number']} has a number, seed or flag that is none; export it again")
    human, judge = (flag == "1" for flag in flags)
    return HumanLabel(int(line["number"]), line["method"], line["prompt"], int(line["seed"]), human, judge)


def _numbered(keys: Sequence[tuple[Any, ...]], order: Iterable[int]) -> Iterable[tuple[Any, ...]]:
    return ((number, *keys[index]) for number, index in enumerate(order, start=1))


def _write_sheets(folder: Path, pictures: Pictures) -> list[Path]:
    from PIL import Image

    paths = []
    for start in range(0, len(pictures), COLUMNS * LINES):
        path = folder / f"sheet-{start // (COLUMNS * LINES) + 1}.png"
        shown = [Image.fromarray(picture.transpose(1, 2, 0)) for picture in pictures[start : start + COLUMNS * LINES]]
        numbers = [str(start + place) for place in range(1, len(shown) + 1)]
        write_atomic(path, png_bytes(contact_sheet(shown, numbers, COLUMNS, TILE)))
        paths.append(path)
    return paths


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    write_atomic(path, csv_lines([header, *rows]).encode())


def _read(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file of these columns, each row with a number of its own."""
    try:
        rows = list(csv.reader(read_text(path, "the labels").splitlines(keepends=True), strict=True))
    except csv.Error as error:
        raise InputError(f"{path} is not CSV: {error}") from error
    if not rows or rows[0] != list(columns) or any(len(row) != len(columns) for row in rows):
        raise InputError(f"{path} must have the columns {', '.join(columns)}, and a value of each in every row")
    found = [dict(zip(columns, row, strict=True)) for row in rows[1:]]
    if not found:
        raise InputError(f"{path} holds no image")
    if len({line["number"] for line in found}) < len(found):
        raise InputError(f"{path} has an image twice")
    return found
