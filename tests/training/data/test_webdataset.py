"""Tars as Latent-CLIP's authors have them, and what a foreign tar may hold besides."""

from __future__ import annotations

import io
import json
import logging
import tarfile
from pathlib import Path

import pytest
import torch

from latent_guard.errors import InputError
from latent_guard.training.data.in_memory import read_shards
from latent_guard.training.data.webdataset import tar_samples
from tests.training.images import write_tar


class Hostile:
    """Unpickled, this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Tars as Latent-CLIP's authors have them; of five samples two are good."""
    latents = torch.arange(16.0).view(2, 4, 1, 2)
    members = [
        ("000.latent.pt", saved(latents[0])),
        ("000.txt", b"the first"),
        ("001.latent.pt", saved(Hostile(tmp_path / "ran"))),
        ("001.txt", b"hostile"),
        ("002.latent.pt", saved(latents[0] * torch.nan)),
        ("002.txt", b"not finite"),
        ("003.latent.pt", saved(torch.zeros(16, 1, 2))),
        ("003.txt", b"of another VAE"),
        ("004.latent.pt", saved(latents[1:])),
        ("004.txt", b"the second"),
    ]
    return write_tar(tmp_path / "theirs" / "00000.tar", members).parent


def test_the_authors_layout_is_read_and_no_pickle_runs(
    theirs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (theirs / "latent_space.json").write_text(json.dumps({"name": "AutoencoderKL", "channels": 4, "factor": 8}))
    with caplog.at_level(logging.WARNING):
        dataset = read_shards([theirs])
    assert dataset.captions == [("the first",), ("the second",)]
    assert torch.equal(dataset.latents, torch.arange(16.0).view(2, 4, 1, 2).half())
    assert "3 of 5 samples are bad; 001: its latent.pt is damaged, or holds other things than tensors" in caplog.text
    assert not (tmp_path / "ran").exists()


def test_tars_without_a_latent_space_are_refused_with_what_to_write(theirs: Path) -> None:
    with pytest.raises(InputError, match=r"write latent_space\.json beside the tars, for SDXL \{"):
        read_shards([theirs])


def test_a_truncated_tar_of_theirs_is_named(theirs: Path) -> None:
    (theirs / "latent_space.json").write_text(json.dumps({"name": "AutoencoderKL", "channels": 4, "factor": 8}))
    whole = (theirs / "00000.tar").read_bytes()
    (theirs / "00000.tar").write_bytes(whole[:4000])
    with pytest.raises(InputError, match=r"00000\.tar is truncated"):
        read_shards([theirs])


def test_of_a_tar_only_files_are_read(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind, content in (
            ("0.jpg", tarfile.SYMTYPE, b""),
            ("0.cls", tarfile.LNKTYPE, b""),
            ("0.dev", tarfile.CHRTYPE, b""),
            ("../../0.txt", tarfile.REGTYPE, b"outside"),
            ("0.txt", tarfile.REGTYPE, b"a text"),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(member, io.BytesIO(content))
    assert list(tar_samples(tmp_path / "a.tar")) == [("../../0", {"txt": b"outside"}), ("0", {"txt": b"a text"})]
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_two_samples_of_one_name_are_two_samples(tmp_path: Path) -> None:
    members = [("0.jpg", b"1"), ("0.txt", b"one"), ("0.jpg", b"2"), ("0.txt", b"two")]
    found = list(tar_samples(write_tar(tmp_path / "a.tar", members)))
    assert found == [("0", {"jpg": b"1", "txt": b"one"}), ("0", {"jpg": b"2", "txt": b"two"})]
