"""Sources of images with captions: any data set that ``datasets`` streams, local or from the hub."""

from __future__ import annotations

import glob
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import datasets

from latent_guard.errors import InputError, reason_of
from latent_guard.files.data_sets import load_undecoded
from latent_guard.files.images import SUFFIXES
from latent_guard.files.stored_images import PictureStore
from latent_guard.hub_access import obstacle
from latent_guard.hub_ids import is_hub_id
from latent_guard.training.data.webdataset import tar_samples

_KINDS = {".tar": "webdataset", ".parquet": "parquet"}
_CAPTION_COLUMNS = ("caption", "text", "txt", "prompt")
_TAR_KEY = "__key__"
_SAMPLES_READ = 5  # to find out which columns a tar has
_KEY_COLUMNS = (_TAR_KEY, "key", "id")
SPLIT = "train"


@dataclass(frozen=True)
class Columns:
    """The names of a data set's columns; a missing one is found by its type (image) or its usual names."""

    image: str | None = None
    caption: str | None = None
    key: str | None = None
    needs_caption: bool = True


@dataclass(frozen=True)
class Sample:
    """One undecoded row: ``image`` has its bytes or its path; the caption is None where the row has none.

    Bytes of a caption that are not UTF-8 are surrogates in it, so that it cannot be encoded again.
    """

    key: str
    image: Mapping[str, Any]
    caption: str | None
    store: PictureStore

    def content(self) -> bytes:
        """The bytes of the image file, downloaded if the row names a URL.

        Raises:
            InputError: there is no image, it is damaged within its archive, or the row may not name it.
            ConnectionError: the image cannot be reached, so the row may still be good.
        """
        return self.store.content(self.image)


@dataclass(frozen=True)
class ImageSource:
    """A stream in several parts (files), whose rows always come in the same order.

    Local tars are read here rather than by ``datasets``, which gives up on a file at the first caption that is no text.

    Attributes:
        parts: number of parts.
        rows: number of rows of all parts; an estimate for tars and folders, None if unknown.
    """

    name: str
    parts: int
    rows: int | None
    columns: Columns
    _tars: list[str]
    _data: Any
    _store: PictureStore
    _classes: Sequence[str] = ()  # names, where captions are numbers of classes

    def samples(self, part: int, start: int) -> Iterator[Sample]:
        """Yield the samples of a part from row ``start`` on.

        Raises:
            InputError: the part or the connection breaks off.
        """
        rows = self._rows(part, start)
        for number in count(start):
            try:
                row = next(rows)
            except StopIteration:
                return
            except InputError:
                raise
            except Exception as error:  # tarfile, pyarrow, fsspec and HTTP clients raise unrelated types
                raise InputError(
                    f"{self.name}: file {part} of {self.parts} cannot be read past row {number} "
                    f"({reason_of(error)}); repair or replace that file and run the same command again"
                ) from error
            yield self._sample(row, f"{part}/{number}")

    def _rows(self, part: int, start: int) -> Iterator[dict[str, Any]]:
        if self._tars:
            return islice(_rows_of_tar(Path(self._tars[part]), self.columns), start, None)
        return iter(self._data.shard(num_shards=self.parts, index=part, contiguous=True).skip(start))

    def _sample(self, row: dict[str, Any], place: str) -> Sample:
        image = row[str(self.columns.image)] or {}
        caption = row[self.columns.caption] if self.columns.caption else None
        if isinstance(caption, int) and 0 <= caption < len(self._classes):
            caption = self._classes[caption]
        key = row[self.columns.key] if self.columns.key else self._relative(image.get("path"))
        text = caption if isinstance(caption, str) else None
        return Sample(place if key is None else str(key), image, text, self._store)

    def _relative(self, path: str | None) -> str | None:
        """A path relative to the source, so that keys do not contain the folders of a user's machine."""
        if path is None:
            return None
        inner = path.partition("::")[0].rpartition("://")[2]  # zip://a.jpg::/somewhere/images.zip
        return inner.removeprefix(str(Path(self.name).absolute())).lstrip("/")


def open_source(source: str, split: str = SPLIT, columns: Columns | None = None) -> ImageSource:
    """Open a folder of images (with ``metadata.jsonl`` or ``.csv``), parquet files, webdataset tars, or a hub id.

    Several files are named by a folder or a pattern (``"shards/*.tar"``); local files have the one split ``train``.

    Raises:
        InputError: the source does not exist, or has no column of images or of captions.
    """
    arguments = _arguments(source)
    if arguments["path"] == "webdataset" and split == SPLIT:
        return _open_tars(source, arguments["data_files"], columns or Columns())
    store = PictureStore.of(source)
    try:
        data = load_undecoded(**arguments, split=split, streaming=True)
        names = list(data.column_names or [])
        features = dict(data.features or {})
    except InputError:
        raise
    except Exception as error:  # the library raises its own errors, the hub client's and ValueError alike
        why = obstacle(error, source, "datasets") if arguments["path"] == source else reason_of(error)
        raise InputError(f"cannot open the images of {source}: {why}") from error
    chosen = _choose(columns or Columns(), names, features, source)
    classes = getattr(features.get(str(chosen.caption)), "names", None) or []
    wanted = dict.fromkeys(name for name in (chosen.image, chosen.caption, chosen.key) if name)
    data = data.select_columns(list(wanted)).cast_column(chosen.image, datasets.Image(decode=False))
    return ImageSource(source, data.num_shards, _rows(arguments, data, split), chosen, [], data, store, classes)


def _open_tars(source: str, tars: list[str], columns: Columns) -> ImageSource:
    files = _names_in_first(tars)
    images = {name: datasets.Image(decode=False) for name in files if f".{name}" in SUFFIXES}
    chosen = _choose(columns, [*files, _TAR_KEY], images, source)
    return ImageSource(source, len(tars), _samples_of_tar(tars[0]) * len(tars), chosen, tars, None, PictureStore())


def _names_in_first(tars: list[str]) -> list[str]:
    """The file extensions of the first samples of the first undamaged tar."""
    damaged = None
    for tar in tars:
        try:
            first = islice(tar_samples(Path(tar)), _SAMPLES_READ)
            return sorted({name for _, files in first for name in files})
        except InputError as error:
            damaged = damaged or error
    raise damaged or InputError("no tars given")


def _rows_of_tar(path: Path, columns: Columns) -> Iterator[dict[str, Any]]:
    """Yield rows as ``datasets`` would give them."""
    texts = [name for name in (columns.caption, columns.key) if name]
    for key, files in tar_samples(path):
        row: dict[str, Any] = {name: files[name].decode(errors="surrogateescape") for name in texts if name in files}
        image = {"bytes": files.get(str(columns.image), b""), "path": f"{key}.{columns.image}"}
        yield {**dict.fromkeys(texts), _TAR_KEY: key, **row, str(columns.image): image}


def _arguments(source: str) -> dict[str, Any]:
    path = Path(source)
    if path.is_dir():
        for suffix, kind in _KINDS.items():
            if files := sorted(str(file) for file in path.glob(f"*{suffix}")):
                return {"path": kind, "data_files": _plain(files)}
        return {"path": "imagefolder", "data_dir": source}
    if files := [source] if path.is_file() else sorted(glob.glob(source)):
        kinds = {Path(file).suffix for file in files}
        if len(kinds) > 1 or not kinds <= set(_KINDS):
            raise InputError(f"{source} is neither webdataset tars nor parquet files; give .tar, .parquet or a folder")
        return {"path": _KINDS[kinds.pop()], "data_files": _plain(files)}
    if not is_hub_id(source):
        raise InputError(f"{source} does not exist, and is no hub id of the form owner/name either")
    return {"path": source}


def _plain(files: list[str]) -> list[str]:
    if special := [file for file in files if not Path(file).is_file()]:
        raise InputError(f"{special[0]} is not a plain file; remove it, or put one there")
    return files


def _choose(given: Columns, names: list[str], features: dict[str, Any], source: str) -> Columns:
    existing = ", ".join(names) or "none"
    images = [name for name in names if isinstance(features.get(name), datasets.Image)]
    captions = [name for name in _CAPTION_COLUMNS if name in names]
    if unknown := [name for name in (given.image, given.caption, given.key) if name and name not in names]:
        raise InputError(f"{source} has no column {unknown[0]}; it has {existing}")
    if not (given.image or images):
        raise InputError(f"{source} has no column of images; it has {existing}; name one with --image-column")
    if not (given.caption or captions) and given.needs_caption:
        fix = "name one with --caption-column, or put captions into a metadata.jsonl in a folder of images"
        raise InputError(f"{source} has no column of captions; it has {existing}; {fix}")
    keys = [name for name in _KEY_COLUMNS if name in names]
    key = given.key or (keys[0] if keys else None)
    return Columns(given.image or images[0], given.caption or next(iter(captions), None), key)


def _rows(arguments: dict[str, Any], data: Any, split: str) -> int | None:
    """Count rows for the progress bar; it reads only local metadata and the hub's answer, so that it costs little."""
    kind = arguments["path"]
    if kind == "parquet":
        from pyarrow.parquet import read_metadata

        return sum(int(read_metadata(file).num_rows) for file in arguments["data_files"])
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
        pass  # reported when the tar is encoded
    return len(keys)
