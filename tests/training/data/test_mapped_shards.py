from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from latent_guard.errors import InputError
from latent_guard.files.sealed import read_sealed, sealed
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.sharding import Worker
from latent_guard.training.data.in_memory import read_shards
from latent_guard.training.data.mapped_shards import MappedShards, TokenizerSize
from latent_guard.training.data.shards import ShardWriter
from latent_guard.training.data.tar_shards import Manifest
from latent_guard.training.encoding.encode import encode
from latent_guard.training.encoding.sources import open_source
from tests.training.images import sign, tiny_encoder, write_parquet


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


def spoil(folder: Path, rows: Iterable[int], bits: int) -> None:
    """Set one number of each of these samples' latents to other bits, as if the VAE had made them."""
    for number, tar in enumerate(sorted(folder.glob("*.tar"))):
        manifest = Manifest.read(tar)
        assert manifest is not None
        content = bytearray(tar.read_bytes())
        for place, offset in enumerate(manifest.offsets):
            if 3 * number + place in rows:
                header = offset + 8 + int.from_bytes(content[offset : offset + 8], "little")
                begin = header + json.loads(content[offset + 8 : header])["latent"]["data_offsets"][0]
                content[begin + 10 : begin + 12] = bits.to_bytes(2, "little")
        tar.write_bytes(content)
    sign(folder)


@pytest.fixture
def copied(encoded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(encoded, tmp_path / "copy"))


@pytest.mark.parametrize("bits", [0x7C00, 0xFC00, 0x7C01, 0x7E00, 0xFFFF])  # infinities and NaNs
def test_a_latent_that_is_not_finite_gives_way_to_its_neighbour(encoded: Path, copied: Path, bits: int) -> None:
    spoil(copied, {2, 3, 6}, bits)
    batch, whole = MappedShards([copied]).gather([2, 1, 6, 3]), MappedShards([encoded])
    assert batch.replaced == 3
    expected = whole.gather([4, 1, 0, 4])
    assert torch.equal(batch.latents, expected.latents)
    assert torch.equal(batch.ids, expected.ids)
    assert whole.gather(range(7)).replaced == 0


@pytest.mark.parametrize("bits", [0x7BFF, 0xFBFF])
def test_the_largest_finite_numbers_are_kept(copied: Path, bits: int) -> None:
    spoil(copied, {0}, bits)
    assert MappedShards([copied]).gather([0, 1]).replaced == 0


def test_bfloat16_is_told_by_its_own_infinity(tmp_path: Path) -> None:
    source = open_source(str(write_parquet(tmp_path / "images.parquet", samples=3)))
    encode(source, tmp_path / "out", tiny_encoder("bfloat16"), Worker(0, 1), 3, show_progress=False)
    spoil(tmp_path / "out", {0}, 0x7C00)
    assert MappedShards([tmp_path / "out"]).gather([0, 1, 2]).replaced == 0
    spoil(tmp_path / "out", {0}, 0x7F80)
    spoil(tmp_path / "out", {1}, 0xFFC0)
    assert MappedShards([tmp_path / "out"]).gather([0, 1, 2]).replaced == 2


def test_a_set_without_a_good_sample_is_an_error(copied: Path) -> None:
    spoil(copied, set(range(6)), 0x7E00)
    assert MappedShards([copied]).gather([3, 4]).replaced == 2
    spoil(copied, set(range(7)), 0x7E00)
    with pytest.raises(InputError, match=r"no latent near .*part-00000-00001\.tar is finite"):
        MappedShards([copied]).gather([3, 4])


def test_it_says_whose_token_ids_it_holds(encoded: Path) -> None:
    tokenizer = tiny_encoder().tokenizer
    assert MappedShards([encoded]).tokenizer == TokenizerSize(len(tokenizer), tokenizer.model_max_length)


def test_token_ids_of_two_tokenizers_are_not_mixed(encoded: Path, copied: Path) -> None:
    index = read_sealed(copied / "index.json", "it")
    index["tokenizer"]["context_length"] = 77
    (copied / "index.json").write_bytes(sealed(index))
    with pytest.raises(InputError, match=r"holds token ids of .*77.*encode both with one --tokenizer"):
        MappedShards([encoded, copied])


def test_a_manifest_that_does_not_fit_itself_is_named(copied: Path) -> None:
    path = copied / "manifests" / "part-00000-00000.json"
    manifest = read_sealed(path, "it")
    path.write_bytes(sealed({**manifest, "shapes": [[99, 4, 4, 4]]}))
    with pytest.raises(InputError, match=r"manifest .*part-00000-00000\.json is damaged"):
        MappedShards([copied])
