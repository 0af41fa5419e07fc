"""Where images with captions come from: any data set that ``datasets`` streams, local or from the hub."""

from __future__ import annotations

import glob
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import datasets

from latent_guard.errors import InputError
from latent_guard.latent_clip.hub import is_hub_id
from latent_guard.training.tar_shards import check_whole

_KINDS = {".tar": "webdataset", ".parquet": "parquet"}
_CAPTION_COLUMNS = ("caption", "text", "txt", "prompt")
_KEY_COLUMNS = ("__key__", "key", "id")
SPLIT = "train"


@dataclass(frozen=True)
class Columns:
    """The names of a data set's columns; None: found by type (image) or by usual names."""

    image: str | None = None
    caption: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class Sample:
    """One row, undecoded: the image as bytes or as a path; None where the row has no image or no caption."""

    key: str
    image: bytes | str | None
    caption: str | None


@dataclass(frozen=True)
class ImageSource:
    """A stream in ``parts`` parts (files), whose rows always come in the same order.

    Attributes:
        parts: how many there are.
        rows: of all parts; an estimate for tars and folders, None where nothing says.
    """

    name: str
    parts: int
    rows: int | None
    columns: Columns
    _tars: list[str]
    _data: Any

    def samples(self, part: int, start: int) -> Iterator[Sample]:
        """The samples of a part from row ``start`` on.

        Raises:
            InputError: the part ends before its time, or the connection does.
        """
        if self._tars:
            check_whole(Path(self._tars[part]))
        rows = iter(self._data.shard(num_shards=self.parts, index=part, contiguous=True).skip(start))
        for number in count(start):
            try:
                row = next(rows)
            except StopIteration:
                return
            except Exception as error:  # tarfile, pyarrow, fsspec and HTTP clients raise unrelated types
                raise InputError(
                    f"{self.name}: file {part} of {self.parts} cannot be read past row {number} "
                    f"({_first_line(error)}); mend or replace that file and run the same command again"
                ) from error
            yield self._sample(row, f"{part}/{number}")

    def _sample(self, row: dict[str, Any], place: str) -> Sample:
        image, caption = row[str(self.columns.image)] or {}, row[str(self.columns.caption)]
        key = row[self.columns.key] if self.columns.key else self._relative(image.get("path"))
        content = image.get("bytes")
        return Sample(
            key=place if key is None else str(key),
            image=image.get("path") if content is None else content,
            caption=caption if isinstance(caption, str) else None,
        )

    def _relative(self, path: str | None) -> str | None:
        """A path as it is inside the source: keys then do not tell where somebody keeps the images."""
        return path if path is None else path.removeprefix(str(Path(self.name).absolute())).lstrip("/")


def open_source(source: str, split: str = SPLIT, columns: Columns | None = None) -> ImageSource:
    """Open a folder of images (with ``metadata.jsonl`` or ``.csv``), parquet files, webdataset tars, or a hub id.

    Several files are a folder or a pattern (``"shards/*.tar"``); local files have the one split ``train``.

    Raises:
        InputError: there is no such thing, or it has no column of images or of captions.
    """
    arguments = _arguments(source)
    try:
        data = datasets.load_dataset(**arguments, split=split, streaming=True)
        names = list(data.column_names or [])
        features = dict(data.features or {})
    except Exception as error:  # the library raises its own errors, the hub client's and ValueError alike
        raise InputError(f"cannot open the images of {source} ({_first_line(error)})") from error
    chosen = _choose(columns or Columns(), names, features, source)
    wanted = dict.fromkeys(name for name in (chosen.image, chosen.caption, chosen.key) if name)
    data = data.select_columns(list(wanted)).cast_column(chosen.image, datasets.Image(decode=False))
    tars = arguments["data_files"] if arguments["path"] == "webdataset" else []
    return ImageSource(source, data.num_shards, _rows(arguments, data, split), chosen, tars, data)


def _arguments(source: str) -> dict[str, Any]:
    path = Path(source)
    if path.is_dir():
        for suffix, kind in _KINDS.items():
            if files := sorted(str(file) for file in path.glob(f"*{suffix}")):
                return {"path": kind, "data_files": files}
        return {"path": "imagefolder", "data_dir": source}
    if files := [source] if path.is_file() else sorted(glob.glob(source)):
        kinds = {Path(file).suffix for file in files}
        if len(kinds) > 1 or not kinds <= set(_KINDS):
            raise InputError(f"{source} is neither webdataset tars nor parquet files; give .tar, .parquet or a folder")
        return {"path": _KINDS[kinds.pop()], "data_files": files}
    if not is_hub_id(source):
        raise InputError(f"{source} does not exist, and is no hub id of the form owner/name either")
    return {"path": source}


def _choose(asked: Columns, names: list[str], features: dict[str, Any], source: str) -> Columns:
    there = ", ".join(names) or "none"
    images = [name for name in names if isinstance(features.get(name), datasets.Image)]
    captions = [name for name in _CAPTION_COLUMNS if name in names]
    if unknown := [name for name in (asked.image, asked.caption, asked.key) if name and name not in names]:
        raise InputError(f"{source} has no column {unknown[0]}; it has {there}")
    if not (asked.image or images):
        raise InputError(f"{source} has no column of images; it has {there}; name one with --image-column")
    if not (asked.caption or captions):
        mend = "name one with --caption-column, or put captions into a metadata.jsonl in a folder of images"
        raise InputError(f"{source} has no column of captions; it has {there}; {mend}")
    keys = [name for name in _KEY_COLUMNS if name in names]
    return Columns(asked.image or images[0], asked.caption or captions[0], asked.key or (keys[0] if keys else None))


def _rows(arguments: dict[str, Any], data: Any, split: str) -> int | None:
    """For the progress bar alone: nothing here may cost more than a look at local files or at what the hub said."""
    kind = arguments["path"]
    if kind == "parquet":
        from pyarrow.parquet import read_metadata

        return sum(int(read_metadata(file).num_rows) for file in arguments["data_files"])
    if kind == "webdataset":
        return _samples_of_tar(arguments["data_files"][0]) * len(arguments["data_files"])
    if kind == "imagefolder":
        files = (path for path in Path(arguments["data_dir"]).rglob("*") if path.is_file())
        return sum(not path.name.startswith("metadata.") for path in files)
    known = (data.info.splits or {}).get(split)
    return int(known.num_examples) if known else None


def _samples_of_tar(path: str) -> int:
    keys = set()
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                keys.add((folder, name.partition(".")[0]))
    except (tarfile.TarError, OSError, EOFError):
        pass  # told when its turn comes
    return len(keys)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(" :.")[:200]
