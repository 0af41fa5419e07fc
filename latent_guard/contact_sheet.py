"""Many pictures on one sheet."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

GAP, LINE, FONT_SIZE = 8, 16, 12  # pixels
_CHARACTER = 6  # pixels that a character of a label is wide, on average
_RED = "#b00020"


def contact_sheet(
    pictures: Sequence[Picture],
    labels: Sequence[str],
    columns: int,
    tile: int,
    *,
    lines: int = 1,
    marked: Collection[int] = (),
) -> Picture:
    """Pictures in a grid, each below its label.

    Args:
        pictures: of any size; they are scaled to squares.
        labels: one for each picture; what does not fit above it is left out.
        columns: pictures in a row.
        tile: pixels of a side of each square.
        lines: of a label.
        marked: places of the pictures whose labels are red.
    """
    from PIL import Image, ImageDraw, ImageFont

    across, down = tile + GAP, lines * LINE + tile + GAP
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (GAP + columns * across, GAP + rows * down), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    for place, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = GAP + place % columns * across, GAP + place // columns * down
        text = "\n".join(textwrap.wrap(label, tile // _CHARACTER)[:lines])
        draw.multiline_text((left, top), text, fill=_RED if place in marked else "black", font=font, spacing=1)
        sheet.paste(picture.convert("RGB").resize((tile, tile)), (left, top + lines * LINE))
    return sheet
