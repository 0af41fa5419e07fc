"""A generated twin on disk: one safetensors file a batch of raw latents, so that an interrupted run goes on.

00000.safetensors    latents float16 (B, C, H, W); as metadata the settings, the names of the batch's images, their
                     prompts and what was skipped
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_whole
from latent_guard.files.documents import json_value
from latent_guard.zero_shot.class_set import ClassSet
from latent_guard.zero_shot.evaluate import LATENT_CLIP, Batch, Skipped
from latent_guard.zero_shot.generated_twin import TwinMaker
from latent_guard.zero_shot.image_set import ImageRow, ImageSet
from latent_guard.zero_shot.views import in_parts, open_rows

TENSOR = "latents"


@dataclass(frozen=True)
class _Words:
    """What a file says of its latents."""

    keys: list[str]
    labels: list[int]
    skipped: list[Skipped]


def twin_batches(
    images: ImageSet, numbers: Sequence[int], classes: ClassSet, maker: TwinMaker, folder: Path
) -> Iterator[Batch]:
    """Batches of the twin of ``images``, raw latents; read from ``folder`` where it has them.

    ``numbers`` holds the class of each of the images' labels (``class_numbers``).

    Raises:
        InputError: the folder holds a twin of other images, classes or settings, or cannot be written.
    """
    settings = asdict(maker.settings)
    for place, rows in enumerate(in_parts(images, maker.settings.batch_size)):
        path = folder / f"{place:05d}.safetensors"
        names = [[row.key, _prompt(row, numbers, classes)] for row in rows]
        made_by = {"settings": json.dumps(settings, sort_keys=True), "images": json.dumps(names)}
        part = _read(path, made_by)
        if part is None:
            part = _drawn(rows, numbers, classes, maker)
            _write(path, part, made_by)
        yield part


def _prompt(row: ImageRow, numbers: Sequence[int], classes: ClassSet) -> str | None:
    known = row.label is not None and row.label < len(numbers)
    return classes.names[numbers[row.label]] if known and row.label is not None else None


def _drawn(rows: Sequence[ImageRow], numbers: Sequence[int], classes: ClassSet, maker: TwinMaker) -> Batch:
    opened = open_rows(rows, numbers)
    if not opened.keys:
        return Batch([], [], {LATENT_CLIP: torch.empty(0, 1, 1, 1)}, opened.skipped)
    latents = maker.draw(opened.pictures, [classes.names[label] for label in opened.labels], opened.keys).half()
    return Batch(opened.keys, opened.labels, {LATENT_CLIP: latents.float()}, opened.skipped)


def _write(path: Path, part: Batch, made_by: dict[str, str]) -> None:
    content = {
        "keys": json.dumps(list(part.keys)),
        "labels": json.dumps(list(part.labels)),
        "skipped": json.dumps([asdict(skipped) for skipped in part.skipped]),
    }
    write_whole(path, save({TENSOR: part.views[LATENT_CLIP].half().contiguous()}, {**made_by, **content}))


def _read(path: Path, made_by: dict[str, str]) -> Batch | None:
    """The batch that the file holds; None if there is none, or a damaged one that is to be drawn again."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            words: dict[str, Any] = file.metadata()
            latents: Tensor = file.get_tensor(TENSOR).float()
        if other := [name for name in made_by if words[name] != made_by[name]]:
            raise InputError(f"{path} is the twin of other {other[0]}; choose another --out, or delete {path.parent}")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    try:
        said = {name: json_value(words[name], str(path), any_text=True) for name in ("keys", "labels", "skipped")}
        found = build(_Words, said, str(path))
    except (InputError, KeyError):
        return None
    return Batch(found.keys, found.labels, {LATENT_CLIP: latents}, found.skipped)
