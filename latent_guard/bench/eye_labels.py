"""Labelling generated images by eye: shuffled contact sheets with a hidden key, and the labels joined to it.

The labeller sees ``sheet-N.png`` and fills the column ``unsafe`` of ``labels.csv`` with 0 or 1. ``key.csv`` says which
arm and prompt each number came from and what the judge said; nobody opens it before the labels are done.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latent_guard.bench.judge import Pictures
from latent_guard.csv_text import csv_lines
from latent_guard.errors import InputError
from latent_guard.whole_files import write_whole

if TYPE_CHECKING:
    from latent_guard.bench.workbench import Workbench

EYE_LABELS = Path("benchmarks/results/eye_labels.csv")
ARMS = ("unguarded", "steer")  # what `--safe` shows holds too few unsafe images to measure a recall on
IMAGES = 120
COLUMNS, LINES, TILE, GAP, LABEL = 6, 5, 160, 8, 16  # of a sheet, in tiles and pixels


@dataclass(frozen=True)
class EyeLabel:
    """One image with both opinions of it."""

    number: int
    arm: str
    prompt: str
    seed: int
    eye_unsafe: bool
    judge_unsafe: bool


def export_sheets(bench: Workbench, folder: Path, seed: int = 0) -> list[Path]:
    """Write 120 images of the risky prompts, half of each arm, shuffled; blocked images show nothing and are left out.

    Returns the files that the labeller needs.
    """
    rng = np.random.default_rng(seed)
    pictures, keys = [], []
    for arm in ARMS:
        graded = bench.arm("risky", None if arm == "unguarded" else arm)
        shown = np.flatnonzero(~graded.blocked)
        for index in rng.choice(shown, size=min(IMAGES // len(ARMS), len(shown)), replace=False):
            pictures.append(graded.records.images[index])
            prompt, image_seed = graded.prompts[index].prompt, int(graded.records.seeds[index])
            keys.append((arm, prompt, image_seed, int(graded.unsafe[index])))
    order = rng.permutation(len(pictures))
    sheets = _write_sheets(folder, np.stack(pictures)[order])
    _write(folder / "key.csv", ("number", "arm", "prompt", "seed", "judge_unsafe"), _numbered(keys, order))
    labels = folder / "labels.csv"
    _write(labels, ("number", "unsafe"), ((number, "") for number in range(1, len(order) + 1)))
    return [*sheets, labels]


def join_eye_labels(folder: Path, out: Path = EYE_LABELS) -> list[EyeLabel]:
    """Put finished labels and the key together into the file that the benchmark reads.

    Raises:
        InputError: a file is missing, or an image has no label of 0 or 1.
    """
    said = {line["number"]: line["unsafe"].strip() for line in _read(folder / "labels.csv")}
    joined = []
    for line in _read(folder / "key.csv"):
        if said.get(line["number"]) not in ("0", "1"):
            raise InputError(f"{folder / 'labels.csv'}: image {line['number']} has no label; write 0 or 1")
        joined.append(_label({**line, "eye_unsafe": said[line["number"]]}))
    rows = ((int(value) if isinstance(value, bool) else value for value in astuple(label)) for label in joined)
    _write(out, [field.name for field in fields(EyeLabel)], rows)
    return joined


def read_eye_labels(path: Path) -> list[EyeLabel]:
    """What ``join_eye_labels`` wrote."""
    return [_label(line) for line in _read(path)]


def _label(line: dict[str, str]) -> EyeLabel:
    return EyeLabel(
        number=int(line["number"]),
        arm=line["arm"],
        prompt=line["prompt"],
        seed=int(line["seed"]),
        eye_unsafe=line["eye_unsafe"] == "1",
        judge_unsafe=line["judge_unsafe"] == "1",
    )


def _numbered(keys: Sequence[tuple[Any, ...]], order: Iterable[int]) -> Iterable[tuple[Any, ...]]:
    return ((number, *keys[index]) for number, index in enumerate(order, start=1))


def _write_sheets(folder: Path, pictures: Pictures) -> list[Path]:
    paths = []
    for start in range(0, len(pictures), COLUMNS * LINES):
        path = folder / f"sheet-{start // (COLUMNS * LINES) + 1}.png"
        content = BytesIO()
        _sheet(pictures[start : start + COLUMNS * LINES], first_number=start + 1).save(content, "PNG")
        write_whole(path, content.getvalue())
        paths.append(path)
    return paths


def _sheet(pictures: Pictures, first_number: int) -> Any:
    from PIL import Image, ImageDraw, ImageFont

    lines = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (GAP + COLUMNS * (TILE + GAP), GAP + lines * (LABEL + TILE + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, picture in enumerate(pictures):
        corner = (GAP + place % COLUMNS * (TILE + GAP), GAP + place // COLUMNS * (LABEL + TILE + GAP))
        draw.text(corner, str(first_number + place), fill="black", font=font)
        tile = Image.fromarray(picture.transpose(1, 2, 0)).resize((TILE, TILE))
        sheet.paste(tile, (corner[0], corner[1] + LABEL))
    return sheet


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    write_whole(path, csv_lines([header, *rows]).encode())


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
