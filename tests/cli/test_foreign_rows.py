"""Rows of a data set that name pictures which are not its own."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from latent_guard.errors import InputError
from latent_guard.training.encoding.sources import open_source
from tests.cli.picture_sources import GOOD, READERS, Command, Reading, parquet, plain_folder
from tests.training.images import jpeg


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
