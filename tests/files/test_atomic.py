"""Files are whole or not there, and what a file system refuses is an ``InputError``, whichever library met it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from latent_guard.errors import InputError
from latent_guard.files.atomic import atomic_file, link_atomic, write_atomic, writing
from tests.sources import sources

WRITERS = ("save_file", "torch.save", ".write_text", ".write_bytes", ".save_pretrained")
OTHERWISE = {  # modules that write in another way
    "files/atomic.py": "the one",
    "cli/places.py": "a probe, removed at once",
    "cli/replacing.py": "a run's files, written beside the earlier ones and moved",
    "cli/model_folder.py": "a model, whose checkpoint writes whole files",
    "guidance/guard_folder.py": "a folder beside its place, moved as a whole",
    "latent_clip/model.py": "the same; and into a temporary folder, for the hub",
    "latent_clip/model_files.py": "a tokenizer, written beside its place and moved",
    "review/keys.py": "a key, which must be new, for its owner alone",
    "review/store.py": "what is moved to its place whole, for its owner alone",
    "training/loop.py": "a model, whose checkpoint writes whole files",
    "pipelines/canary.py": "a few kilobytes into a folder that is being made",
    "bench/runs/peak_memory.py": "a switch of the kernel",
    "testing/bundle.py": "a test's own bundle",
    "worlds/emoji/build.py": "a bundle, which is made anew after any interruption",
    "worlds/emoji/few_step.py": "the same",
    "fitting/rounds.py": "a model is whole once its config, the last of its files, is there",
    "fitting/stages.py": "a guard, whose folder is moved as a whole",
    "worlds/emoji/stages.py": "a stage's model, marked as done afterwards",
}


def unguarded(tree: ast.AST, inside: bool = False) -> Iterator[str]:
    """Calls that write, but in the block of a ``atomic_file``."""
    for node in ast.iter_child_nodes(tree):
        guarded = inside or (
            isinstance(node, ast.With)
            and any(
                isinstance(item.context_expr, ast.Call) and getattr(item.context_expr.func, "id", "") == "atomic_file"
                for item in node.items
            )
        )
        if isinstance(node, ast.Call) and not guarded:
            name = ast.unparse(node.func)
            yield from (writer for writer in WRITERS if name == writer or name.endswith(writer))
            if name == "open" and len(node.args) > 1 and ast.unparse(node.args[1])[1] in "wx":
                yield "open"
        yield from unguarded(node, guarded)


def test_everything_is_written_whole() -> None:
    found = {name: sorted(set(unguarded(ast.parse(text)))) for name, text in sources()}
    own = {
        "worlds/emoji/prompts.py",  # lists, committed
        "worlds/emoji/composition.py",
        "training/data/tar_shards.py",  # tars
        "cli/findings_file.py",  # a log, which grows
    }
    assert {name: calls for name, calls in found.items() if calls and name not in OTHERWISE.keys() | own} == {}


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
        Exception("No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_error_and_leaves_what_was_there(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "model"
    write_atomic(path, b"before")

    def write_half() -> None:
        with atomic_file(path) as partial:
            partial.write_bytes(b"half")
            raise error

    with pytest.raises(InputError, match="make room"):
        write_half()
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("model", b"before")]


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), writing(tmp_path):
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize("place", ["file/x", "n" * 300, "folder"])
def test_what_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    tensors = {"x": torch.zeros(2)}
    with pytest.raises(InputError, match="another place"):
        write_atomic(tmp_path / place, b"x")
    with pytest.raises(InputError, match="another place"):
        link_atomic(tmp_path / "file", tmp_path / place)
    with pytest.raises(InputError, match="another place"), atomic_file(tmp_path / place) as partial:
        save_file(tensors, partial)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]
