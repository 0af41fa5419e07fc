"""Every command that writes, where there is no room for what it writes: one clear line, and nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tests.cli.bench.test_runs import PROMPTS, SPEC
from tests.cli.test_train import RECIPE
from tests.training.images import jpeg, write_folder

Command = Callable[..., Any]
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> dict[str, Any]:
    """What the commands read."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "prompts.csv").write_text("prompt,category\na dagger,violence\na fork,\n")
    (folder / "bench.csv").write_text(PROMPTS)
    (folder / "spec.yaml").write_text(SPEC.replace("PROMPTS", str(folder / "bench.csv")))
    names = [f"{number:02d}.jpg" for number in range(24)]
    write_folder(folder / "images", {name: name for name in names}, {name: jpeg(n) for n, name in enumerate(names)})
    for kind in ("noise", "dust"):
        (folder / "classes" / kind).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(folder / "classes" / kind / "1.png")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return {"f": folder, "b": tiny_bundle, "golden": Path(__file__).parents[1] / "latent_clip" / "golden_small"}


COMMANDS = [
    pytest.param("generate 'a cat' --policy flag --steps 1 --compare --model {b}/pipeline --out {o}", id="generate"),
    pytest.param("check {f}/images --model {b}/pipeline --out {o}/x.csv", id="check"),
    pytest.param("concepts build {f}/prompts.csv --model {b}/pipeline --out {o}", id="concepts build"),
    pytest.param("world emoji preview --out {o}/x.png", id="preview"),
    pytest.param("encode {f}/images {o} --vae {b}/pipeline --tokenizer {b}/guard --size 16", id="encode"),
    pytest.param("convert {golden} {o}", id="convert", marks=SLOW),
    pytest.param("train {f}/recipe.yaml --data {shards} --out {o}", id="train", marks=SLOW),
    pytest.param(
        "fit {b}/pipeline --latent-clip {b}/guard --concepts {f}/prompts.csv --images 50 --rate 0.2 --steps 1 "
        "--out {o}/guard",
        id="fit",
        marks=SLOW,
    ),
    pytest.param("zero-shot {f}/classes --model {b}/pipeline --out {o}", id="zero-shot", marks=SLOW),
    pytest.param("reno cat --iterations 2 --save-steps --out {o}", id="reno", marks=SLOW),
    pytest.param("bench run {f}/spec.yaml --out {o}", id="bench run", marks=SLOW),
    pytest.param("bench merge {run} --out {o}", id="bench merge", marks=SLOW),
    pytest.param("bench report {run} --out {o}", id="bench report", marks=SLOW),
]


def words(command: str, places: dict[str, Any]) -> list[str]:
    return [
        word.strip("'").replace("a_cat", "a cat").format(**places) for word in command.replace("a cat", "a_cat").split()
    ]


@contextmanager
def no_file_larger_than(most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("command", COMMANDS)
def test_files_that_do_not_fit_are_one_line_and_nothing_half_written(
    latent_guard_command: Command, sources: dict[str, Any], tmp_path: Path, command: str
) -> None:
    places = {**sources, "shards": tmp_path / "shards", "run": tmp_path / "run"}
    if "{shards}" in command:
        encode = "encode {f}/images {shards} --vae {b}/pipeline --tokenizer {b}/guard --size 16"
        assert latent_guard_command(*words(encode, places)).code == 0
    if "{run}" in command:
        assert latent_guard_command(*words("bench run {f}/spec.yaml --out {run}", places)).code == 0
    for most in (0, 60, 1200, 9000):
        out = tmp_path / str(most)
        with no_file_larger_than(most):
            done = latent_guard_command(*words(command, {**places, "o": out}))
        assert done.code in ((2,) if most < 100 else (0, 2, 3)), (most, done)
        errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == (0 if done.code == 0 else 1), (most, done)
        assert "Traceback" not in done.err
        if done.code == 2:
            assert "room" in errors[0], (most, done)
        for path in out.rglob("*"):
            assert not path.name.endswith(".part"), (most, path)
            assert path.is_dir() or path.stat().st_size > 0 or path.name == "bad.jsonl", (most, path)
            if path.suffix == ".json":
                json.loads(path.read_text())
    done = latent_guard_command(*words(command, {**places, "o": tmp_path / "1200"}))  # goes on, or begins again
    assert done.code == 0, done


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_full_is_one_line(
    latent_guard_command: Command, sources: dict[str, Any], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("cannot mount a file system of its own")
    try:
        generate = "generate 'a cat' --steps 1 --num-images 2 --model {b}/pipeline --out {o}"
        assert latent_guard_command(*words(generate, {**sources, "o": disk / "out"})).code == 0
        before = {path.name: path.read_bytes() for path in (disk / "out").iterdir()}
        with (disk / "ballast").open("wb", buffering=0) as ballast:
            for size in (4096, 1):
                while True:
                    try:
                        ballast.write(b"x" * size)
                    except OSError:
                        break
        for command in (generate, "concepts build {f}/prompts.csv --model {b}/pipeline --out {o}"):
            done = latent_guard_command(*words(command, {**sources, "o": disk / "out"}))
            assert (done.code, len(done.err.splitlines())) == (2, 1), done
            assert "make room" in done.err
        assert {path.name: path.read_bytes() for path in (disk / "out").iterdir()} == before
    finally:
        subprocess.run(["umount", disk], check=True)
