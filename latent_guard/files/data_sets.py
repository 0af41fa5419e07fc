"""Opening untrusted data sets through ``datasets``, with their images undecoded.

By itself the library would open images of every format that Pillow knows, some through other programs, and on the
hub's data sets it does so ahead of time. ``latent_guard.files.stored_images`` says what a row's picture may be.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from latent_guard.errors import InputError


def load_undecoded(path: str, **options: Any) -> Any:
    """Load a data set as ``datasets.load_dataset`` does, as a stream or a mapping of streams by split; decode nothing.

    Raises:
        InputError: ``path`` is a folder whose description names files outside of it.
        Exception: whatever the library and its hub client raise, of many unrelated types.
    """
    import datasets

    if not {"data_files", "data_dir"} & options.keys() and Path(path).is_dir():
        _require_own_files(datasets.load_dataset_builder(path).config.data_files or {}, Path(path))
    loaded = datasets.load_dataset(path, **options)
    if isinstance(loaded, dict):
        return {split: _undecoded(data) for split, data in loaded.items()}
    return _undecoded(loaded)


def _undecoded(data: Any) -> Any:
    import datasets

    stream = data.to_iterable_dataset() if isinstance(data, datasets.Dataset) else data
    return stream.decode(False) if stream.features else stream  # what has no features yet has no pictures either


def _require_own_files(files: Mapping[str, Iterable[str]], folder: Path) -> None:
    """By name: the files of a folder of the hub's cache are links that lead out of it."""
    root = folder.resolve()
    for name in chain.from_iterable(files.values()):
        if not Path(os.path.normpath(name)).is_relative_to(root):
            raise InputError(f"{folder} is described as made of files outside of it ({name}); do not trust it")
