"""Pictures as every command takes them, and what each command says of those that it could not use."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from tests.training.images import jpeg

Command = Callable[..., Any]
GOOD = jpeg(0)


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
