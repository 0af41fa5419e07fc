"""Every file of a folder of shards, damaged in every way: `encode` mends it, a reader names it or reads the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from latent_guard.errors import InputError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.sharding import Worker
from latent_guard.training.data import checking
from latent_guard.training.data.buckets import TrainingData
from latent_guard.training.data.in_memory import read_shards
from latent_guard.training.data.mapped_shards import MappedShards
from latent_guard.training.data.shards import ShardWriter
from latent_guard.training.encoding.encode import encode
from latent_guard.training.encoding.encoder import Encoder
from latent_guard.training.encoding.plan import Encoded
from latent_guard.training.encoding.sources import open_source
from latent_guard.training.loop import train
from latent_guard.training.recipe import Recipe
from tests.damage import DAMAGES, bit_flipped, deleted, truncated
from tests.training.images import tiny_encoder, write_webdataset

COMMAND = "latent-guard encode images shards --size 8"
WHOLE = Encoded(samples=5, shards=3, bad=1, finished=True)
# What a reader of mapped shards does without.
UNREAD = ("bad.jsonl", "end-00000.json", "encode.json")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_webdataset(tmp_path_factory.mktemp("images"), tars=1, samples=6)
    tar = folder / "00000.tar"
    tar.write_bytes(tar.read_bytes().replace(b"picture 0-3", b"           "))
    return folder


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "shards"
    assert encoded_again(images, folder) == WHOLE
    return folder


@pytest.fixture
def shards(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "shards"))


@cache
def encoder() -> Encoder:
    return tiny_encoder()


def encoded_again(images: Path, out: Path) -> Encoded:
    source = open_source(str(images))
    return encode(source, out, encoder(), Worker(0, 1), 2, command=COMMAND, show_progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "checked.json"
    }


FILES = (
    *("encode.json", "index.json", "bad.jsonl", "part-00000-00001.tar"),
    *("manifests/part-00000-00001.json", "manifests/end-00000.json"),
)


def test_no_file_is_left_out(whole: Path) -> None:
    kinds = {Path(name).suffix + Path(name).stem[:4] for name in contents(whole)}
    assert kinds == {Path(name).suffix + Path(name).stem[:4] for name in FILES}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_told_and_mended_by_encode(
    images: Path, whole: Path, shards: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(shards / name)
    if (shards / name).name in UNREAD:
        assert torch.equal(
            MappedShards([shards]).gather(range(5)).latents, MappedShards([whole]).gather(range(5)).latents
        )
    else:
        for reader in (TrainingData.open, read_shards):
            if reader is read_shards and "manifest" in name:
                continue  # it reads no manifest
            with pytest.raises(InputError, match=rf"{Path(name).stem}.*; run `{COMMAND}` again|is not finished; run"):
                reader([shards])
    if name == "encode.json" or (shards / name).is_dir():
        with pytest.raises(InputError, match=f"{Path(name).name}|already holds latent shards"):
            encoded_again(images, shards)
    else:
        assert encoded_again(images, shards) == WHOLE
        assert contents(shards) == contents(whole)


@pytest.mark.parametrize("position", range(0, 1000, 97))
def test_any_bit_of_a_manifest_counts(shards: Path, position: int) -> None:
    for path in (shards / "index.json", shards / "manifests" / "part-00000-00000.json"):
        content = bytearray(path.read_bytes())
        content[position % len(content)] ^= 1 << position % 8
        path.write_bytes(content)
        before = (
            MappedShards([shards.parent / "shards"]) if content[-1] != 10 and position % len(content) == 0 else None
        )
        assert before is None
        with pytest.raises(InputError, match=path.stem):
            MappedShards([shards])
        content[position % len(content)] ^= 1 << position % 8
        path.write_bytes(content)
    MappedShards([shards])


def test_each_worker_mends_its_own(images: Path, whole: Path, shards: Path) -> None:
    source = open_source(str(images))
    for chunk in range(3):
        bit_flipped(shards / f"part-00000-0000{chunk}.tar")
    done = [encode(source, shards, encoder(), Worker(n, 2), 2, command=COMMAND, show_progress=False) for n in range(2)]
    assert [one.finished for one in done] == [True, True]
    assert contents(shards) == contents(whole)


def test_what_was_read_once_is_remembered_until_it_changes(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_CLOCK_TICK", 0.0)
    tar, read = shards / "part-00000-00001.tar", list[Path]()
    of_file = checking.Checksum.of_file.__func__
    monkeypatch.setattr(
        checking.Checksum, "of_file", classmethod(lambda cls, path: read.append(path) or of_file(cls, path))
    )
    for _ in range(2):
        MappedShards([shards])
    assert len(read) == 3
    stamp = tar.stat()
    bit_flipped(tar)
    os.utime(tar, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(InputError, match=r"part-00000-00001\.tar was changed"):
        MappedShards([shards])
    assert read[3:] == [tar]
    (shards / "checked.json").write_text("{")
    bit_flipped(tar)
    MappedShards([shards])


def test_a_folder_that_cannot_be_written_into_is_read_all_the_same(shards: Path) -> None:
    (shards / "checked.json").unlink(missing_ok=True)
    (shards / "checked.json").mkdir()
    assert len(MappedShards([shards])) == 5


def older(shards: Path) -> None:
    """As it was before there were checksums."""
    for path in [*shards.rglob("*.json")]:
        said = json.loads(path.read_text())
        for entry in [said, *said.get("shards", [])]:
            for key in ("seal", "format", "size", "sha256", "command"):
                if path.name != "encode.json" or key != "size":
                    entry.pop(key, None)
        path.write_text(json.dumps({"format": 1, **said} if path.name == "index.json" else said, indent=2))


def test_a_folder_of_an_older_version_is_read_with_a_warning_and_gone_on_with(images: Path, shards: Path) -> None:
    older(shards)
    with pytest.warns(UserWarning, match="written before shards had checksums"):
        assert len(MappedShards([shards])) == 5
    assert encoded_again(images, shards) == WHOLE
    truncated(shards / "part-00000-00000.tar")
    deleted(shards / "part-00000-00001.tar")
    assert encoded_again(images, shards) == WHOLE
    with pytest.warns(UserWarning, match="checksums"):
        assert len(MappedShards([shards])) == 5


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["shard-00000.safetensors", "shard-00001.jsonl", "index.json"])
def test_shards_in_safetensors_are_checked_too(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    with ShardWriter(tmp_path, LatentSpace("toy", 4, 8), samples_per_shard=2) as writer:
        writer.add(torch.randn(4, 4, 2, 2), [["a picture"]] * 4)
    assert len(read_shards([tmp_path])) == 4
    damage(tmp_path / name)
    with pytest.raises(InputError, match=name if name != "index.json" or damage is not deleted else "finished"):
        read_shards([tmp_path])


def test_training_stops_before_its_first_step(shards: Path, tmp_path: Path) -> None:
    bit_flipped(shards / "part-00000-00001.tar")
    model = {"embed_dim": 8, "vision": {"patch_size": 2, "width": 8, "layers": 1, "heads": 1}}
    recipe = Recipe([str(shards)], str(tmp_path / "out"), {}, steps=1, batch_size=2, learning_rate=1e-3)
    with pytest.raises(InputError, match=rf"part-00000-00001\.tar was changed .*; run `{COMMAND}` again"):
        train(replace(recipe, model={**model, "text": {"width": 8, "layers": 1, "heads": 1}}))
    assert not (tmp_path / "out").exists()
