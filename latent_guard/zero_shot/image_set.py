"""Labelled images of any data set that ``datasets`` reads, opened one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.errors import InputError, reason_of
from latent_guard.files.data_sets import load_undecoded
from latent_guard.files.images import SUFFIXES, opened_picture
from latent_guard.files.stored_images import PictureStore
from latent_guard.files.upright import upright_rgb
from latent_guard.hub_access import obstacle
from latent_guard.hub_ids import is_hub_id

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LABEL_COLUMNS = ("label", "labels", "class", "cls")
_SIDE = 1024  # pixels of the largest square that a model sees
_ONE_WORD = re.compile(r"[\w.-]+")  # the hub's oldest data sets have no owner, such as imagenet-1k and cifar10


@dataclass(frozen=True)
class ImageRow:
    """One image before it is opened: its name within the set, and its label's number (None: it has none)."""

    key: str
    label: int | None
    stored: Mapping[str, Any] | None
    store: PictureStore

    def picture(self) -> Picture:
        """The image, upright, RGB, transparent parts white.

        Raises:
            InputError: it cannot be decoded, or a row may not name it; or the hub cannot be reached.
        """
        try:
            content = self.store.content(self.stored)
        except ConnectionError as error:
            raise InputError(str(error)) from error
        with opened_picture(content, _SIDE) as opened:
            return upright_rgb(opened, _SIDE)


@dataclass(frozen=True)
class ImageSet:
    """Images with labels.

    Attributes:
        labels: the label names, by number; None if the data set has numbers without names.
        count: how many images there are, where that is known beforehand.
    """

    rows: Any  # a datasets.Dataset or IterableDataset, its images not decoded
    store: PictureStore
    image_column: str
    label_column: str
    labels: tuple[str, ...] | None
    count: int | None

    def __iter__(self) -> Iterator[ImageRow]:
        numbers = {name: number for number, name in enumerate(self.labels or ())}
        try:
            for place, row in enumerate(self.rows):
                label = row[self.label_column]
                number = numbers.get(label) if isinstance(label, str) else label
                known = isinstance(number, int) and number >= 0  # hidden labels of test splits are -1
                yield ImageRow(
                    str(row.get("key", place)), number if known else None, row[self.image_column], self.store
                )
        except (OSError, ValueError) as error:  # a damaged file of the set, or a connection that broke
            raise InputError(f"cannot read on in the image set ({reason_of(error)})") from error


def open_image_set(source: str, split: str | None = None, label_column: str | None = None) -> ImageSet:
    """A folder with one folder of images a class, parquet, or anything else that ``datasets.load_dataset`` takes.

    All but the first are streamed: nothing is copied, and of a hub id no more is downloaded than is looked at.

    Raises:
        InputError: no such source, a class folder without images, several splits of which none is chosen, no column
            of images or labels.
    """
    folder = Path(source) / split if split and (Path(source) / split).is_dir() else Path(source)
    inside = sorted(path for path in folder.glob("[!.]*") if path.is_dir())
    files = {path.name: _images(path) for path in inside}
    if any(files.values()):
        if split and folder == Path(source):
            raise InputError(f"{source} has no split {split!r}; leave it out, or name one of its folders")
        if label_column is not None:
            raise InputError(f"{source} has a folder a class, and no column {label_column!r}; leave it out")
        return _of_folders(folder, files)
    if any(_images(path) for split_folder in inside for path in split_folder.glob("[!.]*")):
        raise InputError(f"{source} has the splits {', '.join(files)}; choose one of them with --split")
    return _of_stream(_stream(source, split), source, label_column)


def _of_folders(folder: Path, files: dict[str, list[Path]]) -> ImageSet:
    """Unlike the library's own ``imagefolder``, this takes no class name for a split's and misses no empty folder."""
    import datasets

    if empty := [name for name, found in files.items() if not found]:
        raise InputError(f"the class folder {folder / empty[0]} holds no image; put some in or remove it")
    features = {
        "key": datasets.Value("string"),
        "image": datasets.Image(decode=False),
        "label": datasets.ClassLabel(names=list(files)),
    }
    names = [path.relative_to(folder).as_posix() for found in files.values() for path in found]
    columns = {
        "key": names,
        "image": names,
        "label": [name for name, found in files.items() for _ in found],
    }
    rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    return ImageSet(rows, PictureStore.of(str(folder)), "image", "label", tuple(files), len(rows))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _stream(source: str, split: str | None) -> Any:
    path = Path(source)
    named = is_hub_id(source) or _ONE_WORD.fullmatch(source)
    if path.suffix == ".parquet" and not path.is_dir() and not path.is_file():
        raise InputError(f"{source} is not a plain file, or not there")
    if not path.is_dir() and path.suffix != ".parquet" and not named:
        raise InputError(f"{source} is neither a folder, nor a .parquet file, nor a hub id of the form owner/name")
    where: dict[str, Any] = {"path": str(path.absolute()) if path.is_dir() else source}
    if path.is_file():
        where = {"path": "parquet", "data_files": source}
    try:
        splits: Mapping[str, Any] = load_undecoded(**where, streaming=True)
    except InputError:
        raise
    except Exception as error:  # the library raises its own errors, the hub client's, pyarrow's and ValueError alike
        here = path.exists()
        why = f"check what it names ({reason_of(error)})" if here else obstacle(error, source, "datasets")
        raise InputError(f"cannot load {source} as a data set of images: {why}") from error
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    if split is None or split not in splits:
        raise InputError(f"{source} has the splits {', '.join(splits)}; choose one of them with --split")
    return splits[split]


def _of_stream(rows: Any, source: str, label_column: str | None) -> ImageSet:
    import datasets

    try:
        rows = rows if rows.features else rows._resolve_features()
        features: Mapping[str, Any] = rows.features
        images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
        if len(images) != 1:
            raise InputError(
                f"{source} has {len(images)} columns of images, of {', '.join(features)}; it must have one "
                "(latents are known by a latent_space.json beside them)"
            )
        column = _label_column(features, source, label_column)
        rows = rows.select_columns([images[0], column]).cast_column(images[0], datasets.Image(decode=False))
        labels = getattr(features[column], "names", None)
        if labels is None and getattr(features[column], "dtype", None) in ("string", "large_string"):
            labels = sorted({row[column] for row in rows.select_columns([column])} - {None})
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {source} ({reason_of(error)})") from error
    split = (rows.info.splits or {}).get(str(rows.split))
    count = split.num_examples if split else None
    return ImageSet(rows, PictureStore.of(source), images[0], column, tuple(labels) if labels else None, count)


def _label_column(features: Mapping[str, Any], source: str, wanted: str | None) -> str:
    import datasets

    classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    usual = [name for name in LABEL_COLUMNS if name in features]
    found = [wanted] if wanted is not None else classes if len(classes) == 1 else usual
    if not found or found[0] not in features:
        missing = f"no column {wanted}" if wanted is not None else "no column of labels known as one"
        raise InputError(f"{source} has {missing}; name one of {', '.join(features)} with --label-column")
    return found[0]
