"""Sources that are not as tidy as they should be: each row that cannot be used is listed, and the others are kept."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import datasets
import pytest
from datasets.utils import file_utils

from latent_guard.errors import InputError
from latent_guard.files.stored_images import PictureStore
from latent_guard.sharding import Worker
from latent_guard.training.encoding.encode import encode
from latent_guard.training.encoding.plan import Encoded
from latent_guard.training.encoding.sources import Columns, Sample, open_source
from tests.training.images import jpeg, samples_in, tiny_encoder, write_folder, write_tar


def run(source: Path | str, out: Path) -> Encoded:
    return encode(open_source(str(source)), out, tiny_encoder(), Worker(0, 1), 100, show_progress=False)


def bad_rows(out: Path) -> list[tuple[str, str]]:
    rows = map(json.loads, (out / "bad.jsonl").read_text().splitlines())
    return [(row["key"], row["reason"]) for row in rows]


def test_bad_samples_of_a_tar_are_listed_and_the_others_kept(tmp_path: Path) -> None:
    members = [
        ("0.jpg", jpeg(0)),  # the first has no caption
        ("1.jpg", jpeg(1)),
        ("1.txt", "naïve".encode("latin-1")),
        ("2.jpg", jpeg(2)),
        ("2.txt", b"good"),
        ("2.json", b"{broken"),
        ("3.txt", b"no image"),
        ("4.jpg", b""),
        ("4.txt", b"an empty file"),
        ("5.jpg", jpeg(5)),
        ("5.txt", b"one"),
        ("5.jpg", jpeg(6)),
        ("5.txt", b"another of that name"),
    ]
    done = run(write_tar(tmp_path / "source" / "0.tar", members).parent, tmp_path / "out")
    assert (done.samples, done.bad) == (3, 4)
    assert samples_in(tmp_path / "out") == [("2", "good"), ("5", "one"), ("5", "another of that name")]
    assert bad_rows(tmp_path / "out") == [
        ("0", "no caption"),
        ("1", "the caption is not valid Unicode"),
        ("3", "no image"),
        ("4", "no image"),
    ]


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    """A folder of images as many data sets of the hub are: in an archive, so that rows hold URLs."""
    (tmp_path / "source").mkdir()
    lines = [json.dumps({"file_name": f"{n}.jpg", "text": f"picture {n}"}) for n in range(3)]
    with zipfile.ZipFile(tmp_path / "source" / "train.zip", "w") as archive:
        archive.writestr("metadata.jsonl", "\n".join(lines))
        for number in range(3):
            archive.writestr(f"{number}.jpg", jpeg(number))
    return tmp_path / "source"


def test_images_are_fetched_where_rows_hold_urls(zipped: Path, tmp_path: Path) -> None:
    assert run(zipped, tmp_path / "out") == Encoded(samples=3, shards=1, bad=0, finished=True)
    assert samples_in(tmp_path / "out") == [(f"{n}.jpg", f"picture {n}") for n in range(3)]


def test_what_cannot_be_reached_is_not_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [f"hf://datasets/owner/name@main/{number}.jpg" for number in range(3)]
    rows = datasets.Dataset.from_dict({"image": places, "text": ["a", "b", "c"]}).cast_column("image", datasets.Image())
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **_: rows.to_iterable_dataset())

    def unreachable(path: str, mode: str) -> io.BytesIO:
        raise TimeoutError("timed out")

    with monkeypatch.context() as patch:
        patch.setattr(file_utils, "xopen", unreachable)
        with pytest.raises(InputError, match=r"0\.jpg.* cannot be reached \(timed out\); run the same command again"):
            run("owner/name", tmp_path / "out")
    monkeypatch.setattr(file_utils, "xopen", lambda path, mode: io.BytesIO(jpeg(places.index(path))))
    assert run("owner/name", tmp_path / "out") == Encoded(samples=3, shards=1, bad=0, finished=True)


def test_images_that_are_not_there_are_bad(tmp_path: Path) -> None:
    for stored, reason in (
        ({}, "no image"),
        ({"bytes": b""}, "no image"),
        ({"path": str(tmp_path / "absent.png")}, "no such file"),
    ):
        with pytest.raises(InputError, match=reason):
            Sample("0", stored, "a picture", PictureStore(tmp_path.resolve())).content()


def test_a_folder_of_classes_gives_their_names_as_captions(tmp_path: Path) -> None:
    for name in ("a cat", "a dog"):
        write_folder(tmp_path / "images" / name, {}, {"one.jpg": jpeg(1)})
        (tmp_path / "images" / name / "metadata.jsonl").unlink()
    source = open_source(str(tmp_path / "images"), columns=Columns(caption="label"))
    assert sorted(str(sample.caption) for part in range(source.parts) for sample in source.samples(part, 0)) == [
        "a cat",
        "a dog",
    ]


def test_without_need_of_captions_any_folder_of_images_will_do(tmp_path: Path) -> None:
    write_folder(tmp_path / "images", {}, {"one.jpg": jpeg(1), "two.jpg": jpeg(2)})
    (tmp_path / "images" / "metadata.jsonl").unlink()
    with pytest.raises(InputError, match="has no column of captions"):
        open_source(str(tmp_path / "images"))
    source = open_source(str(tmp_path / "images"), columns=Columns(needs_caption=False))
    samples = [sample for part in range(source.parts) for sample in source.samples(part, 0)]
    assert [sample.caption for sample in samples] == [None, None]
    assert all(sample.content() for sample in samples)
