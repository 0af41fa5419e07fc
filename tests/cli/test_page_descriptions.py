"""A page description that is named like a picture is handed to no interpreter, whichever command meets it."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path

import datasets
import pandas as pd
import pytest
from PIL import Image

from latent_guard.concepts.sources import prompt_sets_of
from latent_guard.report.thumbnails import thumbnails
from latent_guard.training.encoding.sources import open_source
from tests.cli.picture_sources import GOOD, READERS, Reading, image_folder, parquet
from tests.training.images import jpeg, tiny_vae

PAGE = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
%%EndComments
(/etc/passwd) (r) file pop
showpage
"""


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
    with suppress(OSError), Image.open(io.BytesIO(PAGE)) as picture:
        picture.load()
    assert interpreter.exists()


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


def test_adapt_and_the_report_interpret_none_either(
    reading: Reading, interpreter: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    pictures = {f"{number}.png": jpeg(number) for number in range(23)}
    source = image_folder(tmp_path / "source", {**pictures, "page.png": PAGE})
    tiny_vae().save_pretrained(tmp_path / "vae")
    vaes = ("--from-vae", tiny_bundle / "pipeline", "--vae", tmp_path / "vae", "--kind", "linear")
    done = reading.command("adapt", tiny_bundle / "guard", source, tmp_path / "guard", *vaes)
    assert "1 images could not be read" in done.err
    records = pd.DataFrame({"row": [0, 1], "image": ["0.png", "page.png"]})
    assert list(thumbnails(source, records, tmp_path)) == [0]
    assert not interpreter.exists()
