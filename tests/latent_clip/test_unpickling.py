from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from latent_guard.errors import CheckpointError
from latent_guard.latent_clip.unpickling import restricted_load


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def with_pickle(path: Path, data: bytes) -> Path:
    """A file as torch.save writes it, around a pickle made by hand."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return path


def test_tensors_containers_and_numbers_come_back(tmp_path: Path):
    weights = torch.randn(3, 4)
    content = {"weights": weights, "names": ["a", ("b", None)], "epoch": 34, "loss": 0.5}
    back = restricted_load(saved(tmp_path / "a.pt", content))
    assert torch.equal(back.pop("weights"), weights)
    assert back == {"names": ["a", ("b", None)], "epoch": 34, "loss": 0.5}


@pytest.mark.parametrize("number", [np.float64(1.5), np.float32(-2), np.int64(7), np.uint8(255), np.bool_(True)])
@pytest.mark.parametrize("numpy", [b"numpy._core.multiarray", b"numpy.core.multiarray"], ids=["numpy 2", "numpy 1"])
def test_a_number_of_numpy_comes_back_as_pythons(tmp_path: Path, number: np.generic, numpy: bytes):
    written = re.sub(rb"numpy\._?core\.multiarray", numpy, pickle.dumps(number, protocol=2))
    back = restricted_load(with_pickle(tmp_path / "a.pt", written))
    assert back == number
    assert type(back) is type(number.item())


def test_the_byte_order_of_a_number_is_kept(tmp_path: Path):
    little = pickle.dumps(np.float64(1.5), protocol=2)
    big = little.replace(b"X\x01\x00\x00\x00<", b"X\x01\x00\x00\x00>")
    assert big != little
    (swapped,) = struct.unpack(">d", struct.pack("<d", 1.5))
    assert restricted_load(with_pickle(tmp_path / "a.pt", big)) == swapped


@pytest.mark.parametrize("value", [np.datetime64("2020-01-01"), np.str_("text"), np.array([1, 2]), np.dtype(object)])
def test_what_else_numpy_pickles_is_refused(tmp_path: Path, value: object):
    with pytest.raises(CheckpointError, match="nothing in it was run"):
        restricted_load(with_pickle(tmp_path / "a.pt", pickle.dumps(value, protocol=2)))


def test_an_open_file_is_read_too_and_named_as_told():
    buffer = io.BytesIO()
    torch.save(torch.ones(2), buffer)
    assert torch.equal(restricted_load(io.BytesIO(buffer.getvalue()), "shard.tar/3.pt"), torch.ones(2))
    with pytest.raises(CheckpointError, match=r"shard\.tar/3\.pt is not the zip file"):
        restricted_load(io.BytesIO(buffer.getvalue()[:50]), "shard.tar/3.pt")


def test_loading_leaves_torchs_own_allow_list_as_it_was(tmp_path: Path):
    before = set(torch.serialization.get_safe_globals())
    restricted_load(saved(tmp_path / "a.pt", {"lr": np.float64(1.0)}))
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_bare_pickle_is_refused(tmp_path: Path):
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match="not the zip file"):
        restricted_load(tmp_path / "a.pt")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"no file .*a\.pt"):
        restricted_load(tmp_path / "a.pt")
