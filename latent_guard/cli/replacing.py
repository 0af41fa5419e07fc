"""A new run's files in the place of an earlier one's, so that a folder never stands without the pictures it had.

All new files are written beside the old ones before any of these goes. Then ``run.json`` is replaced, which holds the
SHA-256 of each file of its run and, until the last of the others is in its place, that it is not ``complete``: after a
kill in between, what does not match is the earlier run's, and the next run clears it away.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from latent_guard.cli.outputs import COMPARISON
from latent_guard.errors import InputError
from latent_guard.files.atomic import writing
from latent_guard.files.documents import read_json
from latent_guard.files.json_text import json_text

RUN = "run.json"
_NEW = ".new-run.part"
_NUMBERED = re.compile(r"(\d{3}|[1-9]\d{3,})(\.json|(-unguarded|-rewards|-steps)?\.png)")


def replace_run(folder: Path, record: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Put a run's files, and what made them as ``run.json``, in the place of what an earlier run left in a folder.

    Only files that these commands name are removed: those with a number that the earlier run's ``run.json`` gave out,
    or that the new one will, and, beside such a ``run.json``, the sheet without a number.

    Raises:
        InputError: the file system refuses; while there is no room for the new files, the earlier ones stay.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if taken := next((name for name in (RUN, *files) if (folder / name).is_dir()), None):
            raise InputError(f"{folder / taken} is a folder; choose another folder, or remove that one")
        with _alone_in(folder), _emptied(folder / _NEW) as new:
            earlier = _images_of_run(folder)
            last = {**record, "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}}
            first = {**last, "complete": False, "earlier_images": earlier}
            _write(new / "first", json_text(first, 1))
            _write(new / "last", json_text({**last, "complete": True}, 1))
            for name, content in files.items():
                (new / name).write_bytes(content)
            os.replace(new / "first", folder / RUN)
            for name in files:
                os.replace(new / name, folder / name)
            for path in _left_over(folder, max(earlier, record["num_images_per_prompt"]), bool(earlier), files):
                path.unlink()
            os.replace(new / "last", folder / RUN)


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def _left_over(folder: Path, images: int, is_ours: bool, files: Mapping[str, bytes]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        numbered = _NUMBERED.fullmatch(path.name)
        old = int(numbered[1]) < images if numbered else is_ours and path.name == COMPARISON
        if old and path.name not in files and path.is_file():
            yield path


def _images_of_run(folder: Path) -> int:
    """The number of images of the run that a folder's ``run.json`` records; 0 without one."""
    try:
        run = read_json(folder / RUN, "the earlier run", any_text=True)
        images = max(int(run["num_images_per_prompt"]), int(run.get("earlier_images", 0)))
        return images if run["package"].startswith("latent-guard ") else 0
    except (InputError, ValueError, OverflowError, KeyError, TypeError, AttributeError):
        return 0


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One process at a time: two runs into one folder end in the files of one of them."""
    place = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A temporary folder, emptied of what a killed process left in it, and removed in the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
