from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latent_guard.errors import InputError
from latent_guard.files.sealed import read_sealed, sealed
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.training.data.in_memory import read_shards
from latent_guard.training.data.shards import ShardWriter

SPACE = LatentSpace("toy VAE", channels=4, factor=8, scaling_factor=0.18215)


def write(folder: Path, count: int = 5, space: LatentSpace = SPACE, size: int = 2) -> torch.Tensor:
    latents = torch.randn(count, space.channels, size, size)
    with ShardWriter(folder, space, samples_per_shard=2) as writer:
        writer.add(latents, [[f"picture {n}"] for n in range(count)], torch.linspace(0, 1, count))
    return latents


def test_what_is_written_is_read(tmp_path: Path):
    latents = write(tmp_path)
    dataset = read_shards([tmp_path])
    assert dataset.latents.dtype == torch.float16
    assert torch.equal(dataset.latents, latents.half())
    torch.testing.assert_close(dataset.noise_levels, torch.linspace(0, 1, 5))
    assert dataset.captions == [(f"picture {n}",) for n in range(5)]
    assert dataset.latent_space == SPACE
    assert len(dataset) == 5


def test_shards_have_the_size_asked_for_however_samples_come(tmp_path: Path):
    with ShardWriter(tmp_path, SPACE, samples_per_shard=3) as writer:
        for count in (1, 1, 5):
            writer.add(torch.zeros(count, 4, 2, 2), [["a"]] * count)
    index = json.loads((tmp_path / "index.json").read_text())
    assert [shard["samples"] for shard in index["shards"]] == [3, 3, 1]
    assert read_shards([tmp_path]).noise_levels.tolist() == [0.0] * 7


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=3), min_size=1, max_size=5))
def test_any_captions_survive(tmp_path_factory: pytest.TempPathFactory, captions: list[list[str]]):
    folder = tmp_path_factory.mktemp("captions")
    with ShardWriter(folder, SPACE) as writer:
        writer.add(torch.zeros(len(captions), 4, 2, 2), captions)
    assert read_shards([folder]).captions == [tuple(texts) for texts in captions]


def test_several_folders_are_one_dataset(tmp_path: Path):
    one, other = write(tmp_path / "one"), write(tmp_path / "other")
    dataset = read_shards([tmp_path / "one", tmp_path / "other"])
    assert torch.equal(dataset.latents, torch.cat([one, other]).half())


def test_an_interrupted_writer_leaves_no_index(tmp_path: Path):
    interrupted = ShardWriter(tmp_path, SPACE, samples_per_shard=2)
    with suppress(KeyboardInterrupt), interrupted as writer:
        writer.add(torch.zeros(5, 4, 2, 2), [["a"]] * 5)
        raise KeyboardInterrupt
    assert list(tmp_path.glob("shard-*"))
    assert not (tmp_path / "index.json").exists()
    with pytest.raises(InputError, match="no finished latent shards"):
        read_shards([tmp_path])
    write(tmp_path)
    assert len(read_shards([tmp_path])) == 5


def test_finished_shards_are_not_written_over(tmp_path: Path):
    write(tmp_path)
    with pytest.raises(InputError, match="already holds latent shards"):
        ShardWriter(tmp_path, SPACE)


def test_a_writer_without_samples_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="no samples"), ShardWriter(tmp_path, SPACE):
        pass


@pytest.mark.parametrize(
    ("latents", "captions", "levels", "message"),
    [
        (torch.zeros(1, 16, 2, 2), [["a"]], None, "4 channels of toy VAE"),
        (torch.zeros(4, 2, 2), [["a"]], None, r"expected \(N, C, H, W\)"),
        (torch.full((1, 4, 2, 2), torch.nan), [["a"]], None, "not finite"),
        (torch.full((1, 4, 2, 2), 1e6), [["a"]], None, "not finite in float16"),
        (torch.zeros(1, 4, 2, 2), [[]], None, "sample 0 has no caption"),
        (torch.zeros(1, 4, 2, 2), [[" "]], None, "sample 0 has no caption, or one that is empty"),
        (torch.zeros(1, 4, 2, 2), ["a"], None, "not text"),
        (torch.zeros(2, 4, 2, 2), [["a"]], None, "2 latents, 2 noise levels, 1 captions"),
        (torch.zeros(1, 4, 2, 2), [["a"]], torch.tensor([1.5]), "outside 0..1"),
        (torch.zeros(1, 4, 2, 2), [["a"]], torch.tensor([torch.nan]), "outside 0..1"),
    ],
)
def test_samples_that_cannot_be_trained_on_are_refused(tmp_path: Path, latents, captions, levels, message):
    with pytest.raises(InputError, match=message), ShardWriter(tmp_path, SPACE) as writer:
        writer.add(latents, captions, levels)


def test_latents_of_another_size_are_refused(tmp_path: Path):
    writer = ShardWriter(tmp_path, SPACE)
    writer.add(torch.zeros(1, 4, 2, 2), [["a"]])
    with pytest.raises(InputError, match=r"\(4, 4, 4\) after others of \(4, 2, 2\)"):
        writer.add(torch.zeros(1, 4, 4, 4), [["a"]])


def test_folders_of_two_spaces_or_sizes_are_not_mixed(tmp_path: Path):
    write(tmp_path / "one")
    write(tmp_path / "other", space=LatentSpace("another VAE", 4, 8))
    write(tmp_path / "large", size=4)
    with pytest.raises(InputError, match="cannot be mixed"):
        read_shards([tmp_path / "one", tmp_path / "other"])
    with pytest.raises(InputError, match="several shapes"):
        read_shards([tmp_path / "one", tmp_path / "large"])


def test_no_folder_is_refused():
    with pytest.raises(InputError, match="at least one"):
        read_shards([])


@pytest.mark.parametrize("name", ["shard-00001.safetensors", "shard-00001.jsonl", "index.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, damage: str):
    write(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"\x00\xff[")
    with pytest.raises(InputError, match=r"shard-00001|index\.json"):
        read_shards([tmp_path])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_space": None}, "latent_space: expected keys"),
        ({"latent_space": {"name": "x"}}, "missing key 'channels'"),
    ],
)
def test_an_index_that_says_something_else_is_refused(tmp_path: Path, change: dict, message: str):
    write(tmp_path)
    index = read_sealed(tmp_path / "index.json", "it")
    (tmp_path / "index.json").write_bytes(sealed({**index, **change}))
    with pytest.raises(InputError, match=message):
        read_shards([tmp_path])


def test_an_index_of_a_later_version_is_refused(tmp_path: Path):
    write(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({**index, "format": 3}))
    with pytest.raises(InputError, match="format 3; this version reads formats up to 2"):
        read_shards([tmp_path])


def test_an_index_without_a_latent_space_is_refused(tmp_path: Path):
    write(tmp_path)
    index = read_sealed(tmp_path / "index.json", "it")
    del index["latent_space"]
    (tmp_path / "index.json").write_bytes(sealed(index))
    with pytest.raises(InputError, match="which latent space"):
        read_shards([tmp_path])
