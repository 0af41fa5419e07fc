"""Views of the training photographs, each with a caption, as the parquet files that ``latent-guard encode`` reads.

View 0 is the photograph, view 1 its mirror image, and every further one another part of it. A model that is trained on
several views has an augmentation that all models share, whatever they read: a latent of a mirrored photograph is no
mirrored latent.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import yaml
from PIL import Image, ImageOps
from pyarrow import parquet

from benchmarks.photographs.workplace import Workplace
from latent_guard.files.atomic import atomic_file, write_atomic
from latent_guard.zero_shot.class_set import IMAGENET, SLOT, class_set

PLAIN = f"a photo of a {SLOT}."
SEED = 20_261_130
LEAST_AREA, MOST_ASPECT = 0.35, 4 / 3  # of the part of a photograph that a further view shows
_ROWS = 1_000
_FEATURES = datasets.Features(
    {"image": datasets.Image(), "caption": datasets.Value("string"), "key": datasets.Value("string")}
)


def write_views(place: Workplace, number: int) -> None:
    """Write one view of every part that is not written yet."""
    templates = class_set(IMAGENET, None).templates
    for part, source in enumerate(place.training):
        if (path := place.view(number, part)).exists():
            continue
        rng = np.random.default_rng([SEED, number, part])
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial, parquet.ParquetWriter(partial, _FEATURES.arrow_schema) as writer:
            for rows in _batches(source):
                seen = [_row(row, number, templates, rng) for row in rows]
                writer.write_table(pa.Table.from_pylist(seen, schema=_FEATURES.arrow_schema))


def write_classes(place: Workplace) -> None:
    """Write the classes as ``latent-guard zero-shot --classes`` takes them."""
    templates = list(dict.fromkeys([PLAIN, *class_set(IMAGENET, None).templates]))
    content = {"classes": class_names(place.validation), "templates": templates}
    write_atomic(place.classes, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())


def class_names(path: Path) -> list[str]:
    """The names of the classes, by their number."""
    features = datasets.Features.from_arrow_schema(parquet.read_schema(path))
    return list(features["label"].names)


def caption(names: Sequence[str], templates: Sequence[str], rng: np.random.Generator) -> str:
    """One of the names, half of the time in CLIP's plain template, else in any of ImageNet's."""
    template = PLAIN if rng.random() < 0.5 else templates[int(rng.integers(len(templates)))]
    return template.replace(SLOT, names[int(rng.integers(len(names)))])


def view_of(content: bytes, number: int, rng: np.random.Generator) -> bytes:
    """An image file of one view of a photograph."""
    if number == 0:
        return content
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    if number == 1:
        seen = ImageOps.mirror(picture)
    else:
        seen = picture.resize(picture.size, Image.Resampling.BICUBIC, box=_part(*picture.size, rng))
        seen = ImageOps.mirror(seen) if rng.random() < 0.5 else seen
    written = io.BytesIO()
    seen.save(written, "PNG", compress_level=1)
    return written.getvalue()


def _row(row: dict[str, Any], number: int, templates: Sequence[str], rng: np.random.Generator) -> dict[str, Any]:
    names = [name.strip() for name in (row["synonyms"] or row["name"]).split(",")]
    text = caption(names, templates, rng)
    image = {"bytes": view_of(row["image"]["bytes"], number, rng), "path": None}
    return {"image": image, "caption": text, "key": row["key"]}


def _batches(source: Path) -> Iterator[list[dict[str, Any]]]:
    names = class_names(source)
    place = 0
    file = parquet.ParquetFile(source)
    wanted = [name for name in ("image", "label", "synonyms") if name in file.schema_arrow.names]
    for batch in file.iter_batches(_ROWS, columns=wanted):
        rows = [{"synonyms": None, **row} for row in batch.to_pylist()]
        yield [{**row, "name": names[row["label"]], "key": f"{source.stem}/{place + n}"} for n, row in enumerate(rows)]
        place += len(rows)


def _part(width: int, height: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A box of a random area, aspect and place within the picture."""
    area = rng.uniform(LEAST_AREA, 1.0)
    aspect = math.exp(rng.uniform(-math.log(MOST_ASPECT), math.log(MOST_ASPECT)))
    wide, high = min(1.0, math.sqrt(area * aspect)) * width, min(1.0, math.sqrt(area / aspect)) * height
    left, top = rng.uniform(0, width - wide), rng.uniform(0, height - high)
    return left, top, left + wide, top + high
