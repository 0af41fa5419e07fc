"""Pictures and data sets that mean harm, through every command that reads them."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from latent_guard import picture_files
from latent_guard.concepts.sources import prompt_sets_of
from latent_guard.errors import InputError
from latent_guard.training.sources import open_source
from tests.training.images import jpeg, tiny_vae

Command = Callable[..., Any]
PAGE = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
%%EndComments
(/etc/passwd) (r) file pop
showpage
"""
GOOD = jpeg(0)


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once `gs` has been called; Pillow would call it to show a page description."""
    called, programs = tmp_path / "gs-was-called", tmp_path / "programs"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\necho 10.0\necho called >> {called}\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return called


def test_the_interpreter_would_be_called(interpreter: Path) -> None:
    with pytest.raises(OSError), Image.open(io.BytesIO(PAGE)) as picture:
        picture.load()
    assert interpreter.exists()


# What a source or a folder of pictures may look like, with pictures of these names in it: how each is written.


def image_folder(folder: Path, pictures: dict[str, Any]) -> Path:
    folder.mkdir()
    for name, picture in pictures.items():
        place(folder / name, picture)
    lines = [json.dumps({"file_name": name, "text": f"this is {name}"}) for name in pictures]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def zipped(folder: Path, pictures: dict[str, Any]) -> Path:
    folder.mkdir()
    lines = [json.dumps({"file_name": name, "text": f"this is {name}"}) for name in pictures]
    with zipfile.ZipFile(folder / "train.zip", "w") as archive:
        archive.writestr("metadata.jsonl", "\n".join(lines))
        for name, content in pictures.items():
            archive.writestr(name, content)
    return folder


def tar(folder: Path, pictures: dict[str, Any]) -> Path:
    folder.mkdir()
    with tarfile.open(folder / "0.tar", "w") as archive:
        for name, content in pictures.items():
            for member, inside in ((name, content), (f"{Path(name).stem}.txt", b"a caption")):
                info = tarfile.TarInfo(member)
                info.size = len(inside)
                archive.addfile(info, io.BytesIO(inside))
    return folder


def parquet(folder: Path, pictures: dict[str, Any]) -> Path:
    """Rows of bytes or of paths, some with a label."""
    folder.mkdir(exist_ok=True)
    rows = [
        {"bytes": picture, "path": name} if isinstance(picture, bytes) else {"bytes": None, "path": str(picture)}
        for name, picture in pictures.items()
    ]
    text, label = datasets.Value("string"), datasets.ClassLabel(names=["a cat", "a dog"])
    features = datasets.Features(image=datasets.Image(), text=text, id=text, label=label)
    names, labels = list(pictures), [number % 2 for number in range(len(rows))]
    columns = {"image": rows, "text": names, "id": names, "label": labels}
    pq.write_table(pa.table(columns, schema=features.arrow_schema), folder / "0.parquet")
    return folder


def classes(folder: Path, pictures: dict[str, Any]) -> Path:
    for label in ("a cat", "a dog"):
        (folder / label).mkdir(parents=True)
        (folder / label / "plain.jpg").write_bytes(GOOD)
    for name, picture in pictures.items():
        place(folder / "a cat" / name, picture)
    return folder


def plain_folder(folder: Path, pictures: dict[str, Any]) -> Path:
    folder.mkdir()
    for name, picture in pictures.items():
        place(folder / name, picture)
    return folder


def place(path: Path, picture: Any) -> None:
    if isinstance(picture, Path):
        path.symlink_to(picture)
    else:
        path.write_bytes(picture)


# The commands that read pictures: each tells which of them it could not use, and why.


@dataclass
class Reading:
    command: Command
    bundle: Path
    out: Path

    def encode(self, source: Path) -> tuple[int, dict[str, str]]:
        vae = ("--vae", self.bundle / "pipeline", "--tokenizer", self.bundle / "guard", "--size", 16)
        done = self.command("encode", source, self.out, *vae)
        assert done.code == 0, done.err
        bad = [json.loads(line) for line in (self.out / "bad.jsonl").read_text().splitlines()]
        return done.code, {row["key"]: row["reason"] for row in bad}

    def adapt(self, source: Path) -> tuple[int, dict[str, str]]:
        tiny_vae().save_pretrained(self.out / "vae")
        vaes = ("--from-vae", self.bundle / "pipeline", "--vae", self.out / "vae", "--kind", "linear")
        done = self.command("adapt", self.bundle / "guard", source, self.out / "guard", *vaes)
        return done.code, {"all of them": done.err}

    def zero_shot(self, source: Path) -> tuple[int, dict[str, str]]:
        models = ("--model", self.bundle / "pipeline", "--guard", self.bundle / "guard")
        done = self.command("zero-shot", source, *models, "--out", self.out)
        assert done.code == 0, done.err
        with open(self.out / "skipped.csv", newline="") as file:
            return done.code, dict(list(csv.reader(file))[1:])

    def check(self, source: Path) -> tuple[int, dict[str, str]]:
        done = self.command("check", source, "--model", self.bundle / "pipeline", "--format", "jsonl")
        found = [json.loads(line) for line in done.out.splitlines()]
        return done.code, {row["file"]: row["error"] for row in found if row["error"]}

    def findings(self, *paths: Path) -> list[dict[str, Any]]:
        done = self.command("check", *paths, "--model", self.bundle / "pipeline", "--format", "jsonl")
        return [json.loads(line) for line in done.out.splitlines()]

    def build(self, source: Path) -> tuple[int, dict[str, str]]:
        images = ("--images", f"violence={source}", "--ordinary-images", source)
        done = self.command("concepts", "build", "i2p", "--model", self.bundle / "pipeline", "--out", self.out, *images)
        return done.code, {"all of them": done.err}


READERS = {
    "encode, a folder": (Reading.encode, image_folder),
    "encode, a zip archive": (Reading.encode, zipped),
    "encode, a tar": (Reading.encode, tar),
    "encode, parquet": (Reading.encode, parquet),
    "zero-shot, a folder of classes": (Reading.zero_shot, classes),
    "zero-shot, parquet": (Reading.zero_shot, parquet),
    "check": (Reading.check, plain_folder),
    "concepts build": (Reading.build, plain_folder),
}
DATA_SETS = [name for name in READERS if name.startswith(("encode", "zero-shot"))]


@pytest.fixture
def reading(latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path) -> Reading:
    return Reading(latent_guard_command, tiny_bundle, tmp_path / "out")


@pytest.mark.parametrize("reader", READERS)
def test_a_page_description_is_one_bad_picture_and_never_interpreted(
    reading: Reading, interpreter: Path, tmp_path: Path, reader: str
) -> None:
    read, write = READERS[reader]
    code, bad = read(reading, write(tmp_path / "source", {"good.png": GOOD, "page.png": PAGE}))
    assert not interpreter.exists()
    assert code == (2 if reader in ("check", "concepts build") else 0)
    (reason,) = bad.values()
    assert "unknown format" in reason
    assert len(reason.splitlines()) == 1


def test_a_hub_data_sets_pictures_are_not_decoded_ahead(
    interpreter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``datasets`` does it for folders of images on the hub, in threads of its own."""
    kind = {"data_files": str(parquet(tmp_path / "source", {"0": GOOD, "1": PAGE}) / "0.parquet"), "split": "train"}
    stream = datasets.load_dataset("parquet", streaming=True, **kind).decode(num_threads=2)
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **_: stream)
    stored = [sample.image for sample in open_source("owner/name").samples(0, 0)]
    assert [row["bytes"] for row in stored] == [GOOD, PAGE]
    assert not interpreter.exists()


def test_prompts_of_a_data_set_with_pictures_are_read_without_them(
    interpreter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"image": [{"bytes": PAGE, "path": None}], "prompt": ["a dagger"], "categories": ["violence"]}
    data = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **_: data)
    assert [found.prompts for found in prompt_sets_of("owner/name")] == [("a dagger",)]
    assert not interpreter.exists()


# Rows that name what is not theirs.


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A picture that is nobody's business, beside the source."""
    (tmp_path / "private.png").write_bytes(GOOD)
    return tmp_path / "private.png"


@pytest.mark.parametrize("read", [Reading.encode, Reading.zero_shot])
def test_rows_of_parquet_name_pictures_inside_their_folder_only(
    reading: Reading, private: Path, tmp_path: Path, read: Callable[..., Any]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "own").write_bytes(jpeg(1))
    (source / "out").symlink_to(private)
    (source / "ring").symlink_to("ring")
    (source / "zero").symlink_to("/dev/zero")
    os.mkfifo(source / "pipe")
    with zipfile.ZipFile(private.with_suffix(".zip"), "w") as archive:
        archive.writestr("a.png", GOOD)
    named = ["own", source / "own", private, "../private.png", "out", "ring", "zero", "/dev/zero"]
    named += ["pipe", f"file://{private}", "http://127.0.0.1:1/x.png", "\0", "x" * 5000, "/", "."]
    named += [f"zip://a.png::{private.with_suffix('.zip')}", "hf://datasets/owner/name@main/a.png"]
    named += ["zip://a.png::http://127.0.0.1:1/x.zip", f"filecache::file://{private}"]
    parquet(source, {"bytes": GOOD, **{f"{number}": name for number, name in enumerate(named)}})
    _, bad = read(reading, source)
    assert len(bad) == len(named) - 2  # own, twice, is read
    assert all("private" not in reason for reason in bad.values())
    reasons = " ".join(bad.values())
    for reason in ("outside the source", "an address", "not a plain file", "impossible file", "only its own are read"):
        assert reason in reasons


@pytest.mark.parametrize("read", [Reading.encode, Reading.zero_shot])
def test_rows_of_a_file_alone_hold_their_pictures(
    reading: Reading, private: Path, tmp_path: Path, read: Callable[..., Any]
) -> None:
    source = parquet(tmp_path / "source", {"a": GOOD, "b": GOOD, "c": private, "d": "0.parquet"})
    _, bad = read(reading, source / "0.parquet")
    assert [reason.partition(";")[0] for reason in bad.values()] == ["it names a file"] * 2


@pytest.mark.parametrize("reader", ["encode, a folder", "zero-shot, a folder of classes"])
def test_links_that_lead_out_of_a_folder_are_bad_rows(
    reading: Reading, private: Path, tmp_path: Path, reader: str
) -> None:
    read, write = READERS[reader]
    _, bad = read(reading, write(tmp_path / "source", {"good.png": GOOD, "link.png": private}))
    (reason,) = bad.values()
    assert "a link that leads there" in reason


@pytest.mark.parametrize(
    "place",
    [
        "hf://datasets/owner/other@main/a.jpg",
        "hf://datasets/owner/name-too@main/a.jpg",
        "hf://datasets/owner/name@main/../../other/a.jpg",
        "hf://datasets/owner/name/a.jpg",
        "hf://owner/name@main/a.jpg",
        "https://huggingface.co/datasets/owner/name/resolve/main/a.jpg",
        "zip://a.jpg::http://127.0.0.1:1/b.zip::hf://datasets/owner/name@main/train.zip",
        "zip://http://127.0.0.1:1/b::hf://datasets/owner/name@main/train.zip",
        "tar://a.jpg::hf://datasets/owner/name@main/train.tar",
        "/etc/passwd",
        "a.jpg",
    ],
)
def test_rows_of_a_hub_data_set_name_its_own_pictures_only(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    own = ["hf://datasets/owner/name@main/a.jpg", "zip://a.jpg::hf://datasets/owner/name@main/train.zip"]
    fetched: list[str] = []

    def fetch(address: str, mode: str) -> io.BytesIO:
        fetched.append(address)
        return io.BytesIO(GOOD)

    rows = datasets.Dataset.from_dict({"image": [*own, place], "text": ["a", "b", "c"]})
    data = rows.cast_column("image", datasets.Image()).to_iterable_dataset()
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **_: data)
    monkeypatch.setattr("datasets.utils.file_utils.xopen", fetch)
    first, second, foreign = open_source("owner/name").samples(0, 0)
    assert first.content() == second.content() == GOOD
    with pytest.raises(InputError, match="it names"):
        foreign.content()
    assert fetched == own


def test_a_folder_whose_description_names_other_files_is_refused(
    latent_guard_command: Command, private: Path, tmp_path: Path
) -> None:
    elsewhere = parquet(tmp_path / "elsewhere", {"a": GOOD, "b": GOOD})
    folder = plain_folder(tmp_path / "source", {})
    files = f"configs:\n- config_name: default\n  data_files: {elsewhere}/0.parquet\n"
    (folder / "README.md").write_text(f"---\n{files}---\n")
    done = latent_guard_command("zero-shot", folder, "--out", tmp_path / "out")
    assert (done.code, "files outside of it" in done.err) == (2, True)


# Pictures that take too much.


def stored(picture: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def png(side: int) -> bytes:
    """The beginning of a PNG of one bit a pixel: its size is known, and what follows would be read next."""
    size = b"IHDR" + struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + size + struct.pack(">I", zlib.crc32(size))
    return start + struct.pack(">I", 1 << 20) + b"IDAT" + zlib.compress(bytes(1 << 16))


def icon(pictures: dict[int, bytes]) -> bytes:
    """An icon of pictures, each said to have so many pixels a side."""
    entries, at = b"", 6 + 16 * len(pictures)
    for side, picture in pictures.items():
        entries += struct.pack("<BBBBHHII", side, side, 0, 0, 1, 32, len(picture), at)
        at += len(picture)
    return struct.pack("<HHH", 0, 1, len(pictures)) + entries + b"".join(pictures.values())


BOMBS = {
    "1_bit.png": png(13_300),
    "icon.ico": icon({16: png(9000)}),
    "header.bmp": b"BM" + struct.pack("<IHHIIiiHHIIIIII", 0, 0, 0, 54, 40, 30_000, 30_000, 1, 24, *[0] * 6),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("reader", ["encode, a tar", "zero-shot, a folder of classes", "check"])
def test_a_small_file_with_a_huge_picture_is_not_decoded(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, bomb: str
) -> None:
    read, write = READERS[reader]
    _, bad = read(reading, write(tmp_path / "source", {f"good{Path(bomb).suffix}": GOOD, bomb: BOMBS[bomb]}))
    (reason,) = bad.values()
    assert "at most 64,000,000 are read" in reason or "decompression bomb" in reason


def test_check_refuses_a_huge_page_and_too_many_pixels_in_all(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = Image.new("1", (8, 8)), Image.new("1", (60, 60))
    pictures = {"page.tif": ([small, large], "TIFF"), "many.gif": ([small, ImageOps.invert(small)] * 40, "GIF")}
    for name, ((first, *others), kind) in pictures.items():
        pictures[name] = stored(first, kind, save_all=True, append_images=others)
    monkeypatch.setattr(picture_files, "MOST_PIXELS", 1000)
    monkeypatch.setattr(picture_files, "MOST_PIXELS_IN_ALL", 5000)
    _, bad = reading.check(plain_folder(tmp_path / "source", pictures))
    many, page = bad.values()
    assert "5,000 pixels in all; split it up" in many
    assert "it has 60 x 60 pixels, and at most 1,000 are read" in page


def test_every_size_of_an_icon_is_judged(reading: Reading, tmp_path: Path) -> None:
    shown = {side: Image.fromarray(noise(side)) for side in (16, 48, 64)}
    (tmp_path / "a.ico").write_bytes(icon({side: stored(picture, "PNG") for side, picture in shown.items()}))
    for side, picture in shown.items():
        picture.save(tmp_path / f"{side}.png")
    sizes = [tmp_path / f"{side}.png" for side in sorted(shown, reverse=True)]
    scores = [row["score"] for row in reading.findings(tmp_path / "a.ico", *sizes)]
    assert len(scores) == 6
    assert scores[:3] == pytest.approx(scores[3:], abs=1e-5)
    assert len({round(score, 4) for score in scores}) == 3


def noise(side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(side).integers(256, size=(side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link to nowhere"])
def test_what_is_no_plain_file_is_not_waited_for(reading: Reading, tmp_path: Path, kind: str, suffix: str) -> None:
    folder = plain_folder(tmp_path / "s", {"good.png": GOOD})
    path = folder / f"other{suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(os.path.relpath(path))
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "nowhere")
    named = reading.command("check", path)
    assert (named.code, named.out) == (2, "")
    assert "does not exist" in named.err or "is not a plain file" in named.err
    code, bad = reading.check(folder)
    assert (code, list(bad)) == (2, [str(path)])
    assert bad[str(path)] in ("it is not a plain file", "no such file")


@pytest.mark.parametrize("name", ["", "x" * 300, "a\0b", "absent.png"])
def test_a_path_that_names_nothing_is_refused(latent_guard_command: Command, name: str) -> None:
    done = latent_guard_command("check", name)
    assert (done.code, len(done.err.splitlines())) == (2, 1)


def header(**tensors: tuple[str, list[int], int]) -> bytes:
    """A file of safetensors with any numbers in its header: dtype, shape, and bytes that follow."""
    described, at = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        described[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(described).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


LATENTS = {
    "huge": header(latents=("F32", [1 << 40, 4, 8, 8], 1024)),
    "overflow": header(latents=("F32", [1 << 62, 1 << 62, 8, 8], 1024)),
    "empty but huge": header(latents=("F32", [0, 1 << 62, 1 << 62, 4], 0)),
    "complex": header(latents=("C64", [1, 4, 8, 8], 2048)),
    "a long header": struct.pack("<Q", 1 << 60) + b"{}",
    "cut": header(latents=("F32", [1, 4, 8, 8], 1024))[:-1],
    "nothing": b"",
    "no latents": header(first=("F32", [1], 4), second=("F32", [1], 4)),
}


@pytest.mark.parametrize("kind", LATENTS)
def test_latents_with_a_hostile_header_are_unreadable(reading: Reading, tmp_path: Path, kind: str) -> None:
    _, bad = reading.check(plain_folder(tmp_path / "source", {"a.safetensors": LATENTS[kind], "b.png": GOOD}))
    assert [Path(name).name for name in bad] == ["a.safetensors"]


def test_latents_that_would_fill_the_memory_are_unreadable(reading: Reading, tmp_path: Path) -> None:
    numbers = 1 << 29
    text = json.dumps(
        {"latents": {"dtype": "F8_E4M3", "shape": [numbers // 256, 4, 8, 8], "data_offsets": [0, numbers]}}
    )
    folder = plain_folder(tmp_path / "source", {"a.safetensors": struct.pack("<Q", len(text)) + text.encode()})
    os.truncate(folder / "a.safetensors", 8 + len(text) + numbers)  # takes no room on the disk
    _, bad = reading.check(folder)
    assert ["over 268,435,456 numbers; split it up" in reason for reason in bad.values()] == [True]
