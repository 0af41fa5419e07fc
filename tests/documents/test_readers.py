"""Whatever a document holds, its reader says in one line what is wrong, soon; a reader added later is found here."""

from __future__ import annotations

import ast
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from latent_guard.errors import LatentGuardError
from latent_guard.report import charts
from tests.documents.hostile import JSON, NO_FILES, YAML, changes
from tests.documents.readers import READERS, Reader
from tests.sources import sources

LOADERS = {
    ("yaml", name) for name in ("load", "safe_load", "full_load", "load_all", "safe_load_all", "compose", "parse")
}
LOADERS |= {("json", "load"), ("json", "loads")}
READ_HERE = {
    "read_sealed",
    "read_bytes",
    "read_json",
    "read_yaml",
    "read_text",
    "read_lines",
    "json_value",
    "yaml_value",
    "yaml_node",
}
# These read what this package itself wrote a moment ago, or ships, or have their readers tried in their own tests.
ELSEWHERE = {
    "guidance/guard_folder.py",  # texts for people, handed on as they are
    "files/documents.py", "bench/metrics/published.py", "cli/bench/i2p.py", "cli/validation.py",
    "worlds/emoji/build.py", "worlds/emoji/few_step.py", "files/sealed.py",  # own
    "emoji_world/rows/cost.py",  # own
    "emoji_world/human_labels.py",  # test_human_labels
    "bench/runs/run.py", "bench/runs/folder.py",  # test_damaged_runs
    "training/data/checking.py",  # test_damaged_shards
    "fitting/prompts.py",  # fitting/test_prompts
    "concepts/calibration_set.py", "zero_shot/regenerated.py",  # headers: test_headers
    "training/data/mapped_tar.py",
    "review/keys.py", "review/queue.py",  # review/test_store
    "serving/body.py",  # serving/test_requests
}  # fmt: skip
MAX_SECONDS, MAX_CHANGES = 5.0, 24
NAMES = [f"{reader.module} {Path(reader.file).name}" for reader in READERS]


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts take their figures from the run, and draw nothing."""
    monkeypatch.setattr(charts, "_svg", lambda drawing, palette, height: str(drawing(MagicMock(), palette)))


@pytest.fixture(params=READERS, ids=NAMES)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Reader:
    found: Reader = request.param
    found.beside(tmp_path)
    return found


def said_of(reader: Reader, folder: Path) -> str | None:
    """What a reader's error says of its document; None where it reads it, or goes on as without it."""
    began, said = time.monotonic(), None
    try:
        reader.read(folder)
    except LatentGuardError as error:
        said = str(error)
    assert time.monotonic() - began < MAX_SECONDS
    return said


def is_refusal(said: str | None, reader: Reader) -> bool:
    """One clear line that names the file, or none from a reader that forgives."""
    return reader.forgives if said is None else "\n" not in said and Path(reader.file).stem in said


def test_a_good_document_is_read(reader: Reader, tmp_path: Path) -> None:
    reader.write(tmp_path, reader.document)
    assert said_of(reader, tmp_path) is None


def test_what_nobody_means_is_refused_in_a_line_that_names_the_file(reader: Reader, tmp_path: Path) -> None:
    for name, content in (YAML if reader.is_yaml else JSON).items():
        if name in reader.allows:
            continue
        (tmp_path / reader.file).write_bytes(content + b"\n")
        said = said_of(reader, tmp_path)
        assert is_refusal(said, reader), (name, said)


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_refused_and_not_waited_for(reader: Reader, tmp_path: Path, kind: str) -> None:
    if reader.of_text:
        pytest.skip("it reads text that it is given")
    (tmp_path / reader.file).unlink(missing_ok=True)
    NO_FILES[kind](tmp_path / reader.file)
    said = said_of(reader, tmp_path)
    assert is_refusal(said, reader), said


def test_a_value_that_is_another_is_read_or_refused(reader: Reader, tmp_path: Path) -> None:
    every = list(changes(reader.document))
    for name, document in every[:: math.ceil(len(every) / MAX_CHANGES)]:
        reader.write(tmp_path, document)
        try:
            with suppress(LatentGuardError):
                reader.read(tmp_path)
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}") from error


def _modules() -> Iterator[tuple[str, ast.AST]]:
    for name, text in sources():
        yield name, ast.parse(text)


def test_no_module_but_one_reads_yaml_or_json() -> None:
    found = {
        name
        for name, tree in _modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in LOADERS
    }
    assert found == {"files/documents.py"}


def test_every_module_that_reads_documents_is_tried_here() -> None:
    calling = {
        name
        for name, tree in _modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in READ_HERE
    }
    assert calling - ELSEWHERE == {reader.module for reader in READERS}
