"""A `check` that is killed, and run again, ends in the same bytes; two of them never write one file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latent_guard.cli.check_output import lines_of, written
from latent_guard.cli.findings_file import FILES_AT_A_TIME, FindingsFile
from latent_guard.errors import InputError
from latent_guard.guidance.moderation import UNREADABLE, Finding
from tests.damage import a_folder, garbage

Command = Callable[..., Any]
NAMES = (
    b"na\xefve.png",
    b"na\\udcefve.png",
    b"a\nb.png",
    b"a\\nb.png",
    b"=1+1,2.png",
    b'"quoted".png',
    "né.png".encode(),
)

KILLED = """
import os, signal, sys
import torch
from latent_guard import loading
from latent_guard.cli import main
from latent_guard.cli.findings_file import FindingsFile
import latent_guard.guidance.moderation, rich.progress

torch.set_num_threads(1)
guard, vae = loading.load_guard(sys.argv[4], None, None), loading.load_vae(sys.argv[4])
loading.load_guard, loading.load_vae = lambda *_: guard, lambda *_: vae  # once for all forks
add = FindingsFile.add

def run(last=None):
    def dying(log, findings, count=[0]):
        count[0] += 1
        add(log, findings)
        if count[0] == last:
            log._file.truncate(log._file.tell() - 100 * last)
            os.kill(os.getpid(), signal.SIGKILL)
    if (child := os.fork()) == 0:
        signal.alarm(60)
        FindingsFile.add = dying
        try:
            main()
        except SystemExit as stop:
            os._exit(stop.code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

out = sys.argv[-1]
for suffix in (".jsonl", ".csv"):
    sys.argv[-1] = out + suffix
    assert [run(last) for last in (1, 2, 1)] == [-signal.SIGKILL] * 3
    assert run() == 2  # one picture cannot be read
    sys.argv[-1] = out + "-whole" + suffix
    assert run() == 2
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    names = [*NAMES, *(b"%03d.png" % number for number in range(34 - len(NAMES)))]
    for number, name in enumerate(names):
        pixels = rng.integers(256, size=(12 + number, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / os.fsdecode(name))
    garbage(folder / "005.png")
    return folder


@pytest.mark.slow
def test_after_kills_every_byte_is_that_of_a_run_never_killed(
    tiny_bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    arguments = ["check", pictures, "--model", tiny_bundle / "pipeline", "--out", tmp_path / "found"]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2], env=environment)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    for suffix in (".jsonl", ".csv"):
        killed, whole = ((tmp_path / f"found{end}{suffix}").read_bytes() for end in ("", "-whole"))
        assert killed == whole
        assert len(whole.splitlines()) == 34 + (suffix == ".csv")
    assert {path.name for path in tmp_path.iterdir()} == {
        f"found{end}{suffix}" for end in ("", "-whole") for suffix in (".jsonl", ".csv")
    }


def test_two_names_are_never_one() -> None:
    names = [os.fsdecode(name) for name in NAMES]
    for suffix in (".jsonl", ".csv"):
        lines = lines_of([Finding(name, 0, "allowed") for name in names], suffix, "x").encode().splitlines()
        assert len(set(lines)) == len(names)
    assert len({written(name, suffix) for name in names}) == len(names)


def logged(log: FindingsFile, names: list[str], decision: str = "allowed") -> list[list[str]]:
    """Check the files: their groups."""
    groups = log.groups([Path(name) for name in names])
    for group in groups:
        log.add([Finding(str(path), 0, decision) for path in group])
    return [list(map(str, group)) for group in groups]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_groups_begin_at_the_same_places_whatever_was_added_between(tmp_path: Path, suffix: str) -> None:
    names, path = [f"{number:03d}.png" for number in range(50)], tmp_path / f"log{suffix}"
    with FindingsFile(path, "x", names[:20]) as log:
        assert list(map(len, logged(log, names[:20]))) == [16, 4]
    with FindingsFile(path, "x", names) as log:
        groups = logged(log, names)
    assert groups[0] == names[16:32]
    assert list(map(len, groups)) == [16, 16, 2]
    whole = path.read_bytes()
    for cut in (1, 40, len(whole) // 2, len(whole) - 60):
        path.write_bytes(whole[:-cut])
        with FindingsFile(path, "x", names) as log:
            logged(log, names)
        assert path.read_bytes() == whole
    with FindingsFile(path, "x", ["more.png"]) as log:  # the last group's files are not asked for: they stay
        assert logged(log, ["more.png"]) == [["more.png"]]
        assert len(log.decisions()) == 51


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_mended_file_keeps_its_place(tmp_path: Path, suffix: str) -> None:
    names, path = [f"{number:03d}.png" for number in range(FILES_AT_A_TIME + 1)], tmp_path / f"log{suffix}"
    with FindingsFile(path, "x", names) as log:
        log.add([Finding(name, 0, UNREADABLE if name == "003.png" else "allowed") for name in names])
    with FindingsFile(path, "x", names) as log:
        assert log.unreadable(list(map(Path, names))) == [Path("003.png")]
        log.replace([Finding("003.png", row, "flagged") for row in range(2)])
        assert logged(log, names) == [["016.png"]]
        assert log.decisions()[2:6] == [
            ("002.png", "allowed"), ("003.png", "flagged"), ("003.png", "flagged"), ("004.png", "allowed"),
        ]  # fmt: skip


def test_the_second_of_two_is_told_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with FindingsFile(path, "x", ["a.png"]) as log:
        logged(log, ["a.png"])
        for _ in range(2):
            with pytest.raises(InputError, match=r"log\.jsonl is being written by another process; wait"):
                FindingsFile(path, "x", [])
        log.replace([])
    with FindingsFile(path, "x", []) as log:
        assert log.decisions() == [("a.png", "allowed")]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"\xff\n", b"[" * 5000 + b"\n", b"[]\n", b'{"file": []}\n', b"1\n", b"a,b\n"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"log{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="holds something else; choose another --out"):
        FindingsFile(path, "x", [])
    assert path.read_bytes() == content
    a_folder(path)
    with pytest.raises(InputError, match="choose another --out"):
        FindingsFile(path, "x", [])
