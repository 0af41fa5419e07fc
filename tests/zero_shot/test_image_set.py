from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from latent_guard.errors import InputError
from latent_guard.zero_shot.image_set import ImageSet, open_image_set

COLOURS = {"blue": (0, 0, 255), "red": (255, 0, 0), "test_green": (0, 255, 0)}
LABELS = list(COLOURS)


def encoded(colour: str) -> bytes:
    content = BytesIO()
    Image.new("RGB", (6, 4), COLOURS[colour]).save(content, "PNG")
    return content.getvalue()


def folder_of_classes(folder: Path) -> Path:
    for colour in LABELS:
        (folder / colour).mkdir(parents=True)
        for number in range(2):
            (folder / colour / f"{number}.{'PNG' if number else 'png'}").write_bytes(encoded(colour))
    (folder / "readme.txt").write_text("not an image")
    return folder


def parquet(path: Path, features: dict[str, Any] | None = None, **columns: Any) -> Path:
    known = {"image": datasets.Image(), **(features or {})}
    rows = {"image": [{"bytes": encoded(colour), "path": None} for colour in LABELS], **columns}
    datasets.Dataset.from_dict(rows, features=datasets.Features(known)).to_parquet(path)
    return path


def seen(images: ImageSet) -> list[tuple[str | None, tuple[int, ...]]]:
    """Label name and colour of each image."""
    names = images.labels or ()
    return [(None if row.label is None else names[row.label], row.picture().getpixel((0, 0))) for row in images]


def test_a_folder_with_a_folder_a_class_is_read_in_order_with_every_class(tmp_path: Path) -> None:
    images = open_image_set(str(folder_of_classes(tmp_path)))
    assert (images.labels, images.count) == (tuple(LABELS), 6)
    assert seen(images) == [(colour, COLOURS[colour]) for colour in LABELS for _ in range(2)]
    assert [row.key for row in images][:2] == ["blue/0.png", "blue/1.PNG"]


def test_a_class_folder_without_images_is_named(tmp_path: Path) -> None:
    (folder_of_classes(tmp_path) / "violet").mkdir()
    with pytest.raises(InputError, match="violet holds no image"):
        open_image_set(str(tmp_path))


def test_of_several_splits_one_is_chosen(tmp_path: Path) -> None:
    for split in ("train", "val"):
        folder_of_classes(tmp_path / split)
    with pytest.raises(InputError, match=r"splits train, val; .*--split"):
        open_image_set(str(tmp_path))
    assert open_image_set(str(tmp_path), split="val").count == 6


def numbered(path: Path) -> Path:
    return parquet(path, {"label": datasets.ClassLabel(names=LABELS)}, label=LABELS)


def texts(path: Path) -> Path:
    return parquet(path, {"class": datasets.Value("string")}, **{"class": LABELS})


@pytest.mark.parametrize("write", [numbered, texts])
def test_parquet_is_read_with_numbered_labels_and_with_texts(write: Callable[[Path], Path], tmp_path: Path) -> None:
    images = open_image_set(str(write(tmp_path / "images.parquet")))
    assert images.labels == tuple(LABELS)
    assert seen(images) == [(colour, COLOURS[colour]) for colour in LABELS]
    assert open_image_set(str(tmp_path)).labels == tuple(LABELS)  # the folder that holds it


def test_labels_that_are_missing_or_hidden_are_none(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", {"label": datasets.Value("int64")}, label=[1, -1, None])
    images = open_image_set(str(path))
    assert images.labels is None
    assert [row.label for row in images] == [1, None, None]


def test_of_several_label_columns_one_is_chosen(tmp_path: Path) -> None:
    classes = {name: datasets.ClassLabel(names=LABELS) for name in ("fine", "coarse")}
    path = str(parquet(tmp_path / "a.parquet", classes, fine=LABELS, coarse=LABELS[::-1]))
    with pytest.raises(InputError, match="fine, coarse with --label-column"):
        open_image_set(path)
    assert [name for name, _ in seen(open_image_set(path, label_column="coarse"))] == LABELS[::-1]
    with pytest.raises(InputError, match="no column rough"):
        open_image_set(path, label_column="rough")


def test_transparent_pictures_lie_on_white_and_turned_ones_upright(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a" / "0.png")
    turned = Image.new("L", (6, 3), 9)
    turned.save(tmp_path / "a" / "1.png", exif=_turned())
    first, second = (row.picture() for row in open_image_set(str(tmp_path)))
    assert first.getpixel((0, 0)) == (255, 255, 255)
    assert (second.mode, second.size) == ("RGB", (3, 6))


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_a_picture_that_cannot_be_decoded_says_so_alone(tmp_path: Path) -> None:
    folder = folder_of_classes(tmp_path)
    (folder / "red" / "0.png").write_bytes(encoded("red")[:40])
    rows = list(open_image_set(str(folder)))
    with pytest.raises(InputError, match="not a readable picture"):
        rows[2].picture()
    assert rows[3].picture().size == (6, 4)


def test_what_is_no_image_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "0.png").write_bytes(encoded("red"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    for source, named in [
        (tmp_path / "absent" / "folder", "neither a folder"),
        (tmp_path / "flat" / "0.png", "neither a folder"),
        (tmp_path / "flat", "labels"),
        (tmp_path / "broken.parquet", "broken.parquet"),
    ]:
        with pytest.raises(InputError, match=named):
            list(open_image_set(str(source)))
