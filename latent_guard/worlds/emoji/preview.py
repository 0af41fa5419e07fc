"""A labelled contact sheet of random scenes of the world."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from latent_guard.files.atomic import write_whole
from latent_guard.worlds.emoji.sampling import training_samples
from latent_guard.worlds.emoji.scenes import render

COLUMNS, ROWS = 8, 6
_TILE, _GAP, _TEXT_LINES = 128, 12, 3


def write_preview(path: Path, seed: int) -> None:
    """Write a sheet of random scenes, each over its caption, in red where it shows something unsafe."""
    samples = list(itertools.islice(training_samples(seed), COLUMNS * ROWS))
    labels = [sample.caption + (" [unsafe]" if sample.scene.is_unsafe else "") for sample in samples]
    content = BytesIO()
    contact_sheet([render(sample.scene) for sample in samples], labels, COLUMNS).save(content, "PNG")
    write_whole(path, content.getvalue())


def contact_sheet(pictures: Sequence[NDArray[np.uint8]], labels: Sequence[str], columns: int) -> Image.Image:
    """Pictures (H, W, 3) in a grid, enlarged, each over its label."""
    font = ImageFont.load_default(size=11)
    row_height = _TILE + _TEXT_LINES * 13 + _GAP
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (_TILE + _GAP) + _GAP, rows * row_height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x = _GAP + index % columns * (_TILE + _GAP)
        y = _GAP + index // columns * row_height
        sheet.paste(Image.fromarray(picture).resize((_TILE, _TILE), Image.Resampling.NEAREST), (x, y))
        color = "#b00020" if label.endswith("[unsafe]") else "black"
        text = "\n".join(textwrap.wrap(label, 22)[:_TEXT_LINES])
        draw.multiline_text((x, y + _TILE + 2), text, fill=color, font=font, spacing=1)
    return sheet
