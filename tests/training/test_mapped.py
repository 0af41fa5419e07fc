from __future__ import annotations

from pathlib import Path

import pytest
import torch

from latent_guard.errors import InputError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.training.encode_plan import Worker
from latent_guard.training.encoding import encode
from latent_guard.training.mapped import MappedShards
from latent_guard.training.shards import ShardWriter, read_shards
from latent_guard.training.sources import open_source
from tests.training.images import tiny_encoder, write_parquet


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mapped")
    source = open_source(str(write_parquet(folder / "images.parquet", samples=7)))
    encode(source, folder / "out", tiny_encoder(), Worker(0, 1), 3, show_progress=False)
    return folder / "out"


def test_any_rows_in_any_order_are_those_that_were_encoded(encoded: Path) -> None:
    whole, mapped = read_shards([encoded]), MappedShards([encoded])
    assert len(mapped) == 7
    assert mapped.latent_space == whole.latent_space
    rows = [6, 0, 3, 2, 0, 5]
    found = mapped.gather(rows)
    assert torch.equal(found.latents, whole.latents[rows])
    texts = [whole.captions[row][0] for row in rows]
    assert torch.equal(found.ids.long(), tokenize(tiny_encoder().tokenizer, texts))


def test_several_folders_are_one_set(encoded: Path) -> None:
    both = MappedShards([encoded, encoded])
    assert len(both) == 14
    assert torch.equal(both.gather([1, 8]).latents[0], both.gather([1, 8]).latents[1])


@pytest.mark.parametrize("row", [-1, 7])
def test_a_row_that_is_not_there_is_an_error(encoded: Path, row: int) -> None:
    with pytest.raises(IndexError):
        MappedShards([encoded]).gather([row])


def test_folders_that_cannot_be_mapped_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one"):
        MappedShards([])
    with ShardWriter(tmp_path / "memory", LatentSpace("toy", 4, 8)) as writer:
        writer.add(torch.zeros(1, 4, 2, 2), [["a"]])
    with pytest.raises(InputError, match="only tars of `latent-guard encode`"):
        MappedShards([tmp_path / "memory"])


@pytest.mark.parametrize("damage", ["garbage", "truncated", "missing"])
def test_a_damaged_tar_is_named(tmp_path: Path, damage: str) -> None:
    source = open_source(str(write_parquet(tmp_path / "images.parquet", samples=2)))
    encode(source, tmp_path / "out", tiny_encoder(), Worker(0, 1), 2, show_progress=False)
    tar = tmp_path / "out" / "part-00000-00000.tar"
    whole = tar.read_bytes()
    tar.unlink()
    if damage != "missing":
        tar.write_bytes(b"\xff" * len(whole) if damage == "garbage" else whole[:700])
    with pytest.raises(InputError, match=r"part-00000-00000\.tar"):
        MappedShards([tmp_path / "out"]).gather([0, 1])
