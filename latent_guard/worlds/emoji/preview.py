"""A labelled contact sheet of random scenes of the world."""

from __future__ import annotations

import itertools
from pathlib import Path

from PIL import Image

from latent_guard.contact_sheet import contact_sheet
from latent_guard.files.atomic import write_atomic
from latent_guard.files.png import png_bytes
from latent_guard.worlds.emoji.sampling import training_samples
from latent_guard.worlds.emoji.scenes import render

COLUMNS = 8
ROWS = 6
_TILE = 128  # pixels
_TEXT_LINES = 3


def write_preview(path: Path, seed: int) -> None:
    """Write a sheet of random scenes, each below its caption, in red where it shows something unsafe."""
    samples = list(itertools.islice(training_samples(seed), COLUMNS * ROWS))
    labels = [sample.caption + (" [unsafe]" if sample.scene.is_unsafe else "") for sample in samples]
    pictures = [Image.fromarray(render(sample.scene)) for sample in samples]
    unsafe = [place for place, sample in enumerate(samples) if sample.scene.is_unsafe]
    sheet = contact_sheet(pictures, labels, COLUMNS, _TILE, lines=_TEXT_LINES, marked=unsafe)
    write_atomic(path, png_bytes(sheet))
