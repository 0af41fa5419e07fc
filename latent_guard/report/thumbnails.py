"""Thumbnails of a run's images, inside the page, or in a folder beside it if there are many."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.images import opened_picture
from latent_guard.files.upright import upright_rgb

MAX_INLINE = 300
SIDE = 128  # pixels
FOLDER = "thumbs"
_OURS = re.compile(r"\d{6,}\.jpg")


def thumbnails(run_folder: Path, records: pd.DataFrame, out: Path) -> Mapping[int, str]:
    """Make the thumbnails of records; those of an earlier report are removed. No file is named after a prompt.

    Returns:
        The address of each row's thumbnail, a data URI or a path relative to ``out``; no entry for an unreadable image.

    Raises:
        InputError: a record names an image outside the run folder.
    """
    inline = len(records) <= MAX_INLINE
    folder = out / FOLDER
    addresses: dict[int, str] = {}
    for row, image in zip(records["row"], records["image"], strict=True):
        content = _small(_inside(run_folder, image, row))
        if content is None:
            continue
        if inline:
            addresses[row] = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
            continue
        name = f"{row:06d}.jpg"
        write_atomic(folder / name, content)
        addresses[row] = f"{FOLDER}/{name}"
    _clear(folder, keep=set(addresses.values()))
    return addresses


def _inside(run_folder: Path, image: str, row: int) -> Path:
    root = run_folder.resolve()
    try:
        path = (root / image).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a link to itself
        raise InputError(f"{run_folder}: row {row} names an impossible image file; resume the run") from error
    if not path.is_relative_to(root):
        raise InputError(f"{run_folder}: row {row} names an image outside the run folder; do not trust this run")
    return path


def _small(path: Path) -> bytes | None:
    """Scale an image to a JPEG of at most SIDE pixels a side; None if it cannot be read."""
    try:
        with opened_picture(path, SIDE) as picture:
            small = upright_rgb(picture, SIDE)
    except InputError:
        return None
    small.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=88)
    return content.getvalue()


def _clear(folder: Path, keep: set[str]) -> None:
    """Remove thumbnails of an earlier report, and the folder if it is then empty."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and f"{FOLDER}/{path.name}" not in keep:
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
