"""Native aspect: pictures of several shapes in one folder, from the image to the training batch."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
import safetensors.torch
import torch

from latent_guard.errors import InputError
from latent_guard.sharding import Worker
from latent_guard.training.data.mapped_shards import MappedShards
from latent_guard.training.encoding.encode import encode
from latent_guard.training.encoding.encoder import Encoder
from latent_guard.training.encoding.images import read_picture
from latent_guard.training.encoding.sources import open_source
from tests.training.images import jpeg, tiny_encoder, write_folder

SIDES = {"wide": (9, 16), "square": (12, 12), "tall": (16, 9), "photo": (12, 16)}
SHAPES = {"wide": (4, 6, 11), "square": (4, 8, 8), "tall": (4, 11, 6), "photo": (4, 7, 9)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [f"{kind}-{number}.jpg" for number in range(3) for kind in SIDES]
    content = {name: jpeg(number, *SIDES[name.split("-")[0]]) for number, name in enumerate(names)}
    return write_folder(tmp_path_factory.mktemp("source") / "images", {name: f"a {name}" for name in names}, content)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder(size=16, native_aspect=True)


@pytest.fixture(scope="module")
def encoded(images: Path, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("encoded") / "out"
    done = encode(open_source(str(images)), out, encoder, Worker(0, 1), 7, show_progress=False)
    assert (done.samples, done.shards, done.bad) == (12, 2, 0)
    return out


def test_each_picture_keeps_its_aspect_ratio(encoded: Path) -> None:
    files = str(encoded / "*.tar")
    rows = list(datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True))
    assert len({row["json"]["key"] for row in rows}) == 12
    for row in rows:
        latent = safetensors.torch.load(row["safetensors"])["latent"]
        assert latent.shape == SHAPES[row["json"]["key"].split("-")[0]]


def test_training_batches_are_of_one_shape(encoded: Path, images: Path, encoder: Encoder) -> None:
    shards = MappedShards([encoded])
    views = shards.by_shape()
    assert {shape: len(view) for shape, view in views.items()} == dict.fromkeys(SHAPES.values(), 3)
    assert sum(map(len, views.values())) == len(shards)
    for view in views.values():
        assert view.latent_space == shards.latent_space == encoder.latent_space
        assert view.tokenizer == shards.tokenizer
        batch = view.gather([2, 0])
        assert batch.latents.shape == (2, *view.shape)
        assert batch.ids.shape == (2, view.tokenizer.context_length)
    wide = read_picture((images / "wide-2.jpg").read_bytes(), encoder.shapes())
    expected = encoder.latents(wide[None])
    torch.testing.assert_close(views[SHAPES["wide"]].gather([2]).latents, expected, rtol=1e-2, atol=1e-2)


def test_rows_of_several_shapes_make_no_batch(encoded: Path) -> None:
    shards = MappedShards([encoded])
    with pytest.raises(InputError, match="another shape"):
        shards.gather(range(len(shards)))


def test_shapes_are_known_without_a_look_at_the_tars(encoded: Path, tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    for path in (encoded / "index.json", *(encoded / "manifests").iterdir()):
        (tmp_path / path.relative_to(encoded)).write_bytes(path.read_bytes())
    for tar in encoded.glob("*.tar"):
        with open(tmp_path / tar.name, "wb") as hollow:
            hollow.truncate(tar.stat().st_size)
    assert set(MappedShards([tmp_path], read_all=False).by_shape()) == set(SHAPES.values())


def test_squares_and_native_aspect_do_not_go_into_the_same_folder(encoded: Path, images: Path) -> None:
    with pytest.raises(InputError, match="begun with native_aspect True, not False"):
        encode(open_source(str(images)), encoded, tiny_encoder(size=16), Worker(0, 1), 7, show_progress=False)


def test_a_folder_of_a_version_that_knew_squares_alone_is_gone_on_with(images: Path, tmp_path: Path) -> None:
    arguments = open_source(str(images)), tmp_path / "out", tiny_encoder(), Worker(0, 1), 7
    encode(*arguments, show_progress=False)
    for path in (tmp_path / "out" / "encode.json", *(tmp_path / "out" / "manifests").glob("part-*.json")):
        said = json.loads(path.read_text())
        later = ("native_aspect", "shapes", "sha256", "format", "seal", "command") + ("size",) * (
            path.name != "encode.json"
        )
        path.write_text(json.dumps({key: said[key] for key in said if key not in later}))
    assert encode(*arguments, show_progress=False).samples == 12
    shards = MappedShards([tmp_path / "out"])
    assert {shape: len(view) for shape, view in shards.by_shape().items()} == {(4, 4, 4): 12}
    assert shards.gather(range(12)).latents.shape == (12, 4, 4, 4)
