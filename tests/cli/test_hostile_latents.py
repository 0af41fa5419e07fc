"""Files that ``check`` must neither wait for nor fill the memory with."""

from __future__ import annotations

import json
import os
import socket
import struct
from pathlib import Path

import pytest

from tests.cli.picture_sources import GOOD, Command, Reading, plain_folder


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
