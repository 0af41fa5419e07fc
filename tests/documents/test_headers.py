"""JSON in the headers of safetensors files and members: read as carefully as that of a file of its own."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from latent_guard.concepts.calibration_set import CalibrationSet
from latent_guard.errors import InputError
from latent_guard.training.data.mapped_tar import map_tar
from latent_guard.zero_shot.image_set import open_image_set
from latent_guard.zero_shot.regenerated import _read
from tests.documents.hostile import JSON, changes

HEADER = {
    "latent": {"dtype": "F16", "shape": [4, 2, 2], "data_offsets": [0, 32]},
    "tokens": {"dtype": "I32", "shape": [3], "data_offsets": [32, 44]},
}
WORDS = {"keys": ["a", "b\udcff"], "labels": [0, 1], "skipped": [{"key": "c", "reason": "bad"}]}


def _tar(folder: Path, header: bytes, length: int | None = None) -> Path:
    (folder / "manifests").mkdir(exist_ok=True)
    manifest = {"samples": 1, "offsets": [512], "bad": [], "shapes": [[1, 4, 2, 2]]}
    (folder / "manifests" / "a.json").write_text(json.dumps(manifest))
    begin = (len(header) if length is None else length).to_bytes(8, "little")
    (folder / "a.tar").write_bytes(bytes(512) + begin + header + bytes(2048))
    return folder / "a.tar"


def _tried(folder: Path, number: int, header: bytes, length: int | None = None) -> None:
    (folder / str(number)).mkdir()
    (samples,) = map_tar(_tar(folder / str(number), header, length))
    layout = samples.layout
    room = layout.latent.empty(1), layout.tokens.empty(1)
    samples.copy(0, layout, room[0][0], room[1][0])


def test_a_member_says_what_its_bytes_are_or_is_damaged(tmp_path: Path) -> None:
    _tried(tmp_path, 0, json.dumps(HEADER).encode())
    for number, content in enumerate(JSON.values(), start=1):
        with pytest.raises(InputError, match=r"a\.tar is damaged"):
            _tried(tmp_path, number, content)
    with pytest.raises(InputError, match=r"a\.tar is damaged"):
        _tried(tmp_path, 99, json.dumps(HEADER).encode(), length=2**63 - 9)
    for number, (_, header) in enumerate(list(changes(HEADER))[::3], start=100):
        with suppress(InputError):
            _tried(tmp_path, number, json.dumps(header).encode())


@pytest.mark.parametrize("said", ['["a", 1]', '"violence"', "5", "[" * 100_000, '{"a": 1}', "null", ""])
def test_categories_of_recorded_generations_are_texts(tmp_path: Path, said: str) -> None:
    tensors = {"features": torch.ones(1, 1, 2), "noise_levels": torch.zeros(1), "shows": torch.ones(1, 1).bool()}
    words = {"categories": said, "fingerprint": "a", "made_by": "b"}
    (tmp_path / "seen.safetensors").write_bytes(save(tensors, words))
    with pytest.raises(InputError, match=r"seen\.safetensors holds no calibration set"):
        CalibrationSet.load(tmp_path / "seen.safetensors")


def test_a_damaged_pixel_clip_is_drawn_again(tmp_path: Path) -> None:
    path = tmp_path / "00000.safetensors"

    def read(words: Any) -> Any:
        given = words if isinstance(words, dict) else {}
        save_file({"latents": torch.zeros(2, 4, 2, 2)}, path, {str(k): json.dumps(v) for k, v in given.items()})
        return _read(path, {})

    good = read(WORDS)
    assert (good.keys, good.labels, good.skipped[0].key) == (WORDS["keys"], [0, 1], "c")
    for _, words in list(changes(WORDS))[::5]:
        found = read(words)
        assert found is None or all(isinstance(key, str) for key in found.keys)


@pytest.mark.parametrize(("options", "says"), [({"split": "test"}, "no split"), ({"label_column": "x"}, "no column")])
def test_a_folder_a_class_has_neither_splits_nor_columns(tmp_path: Path, options: dict[str, str], says: str) -> None:
    from PIL import Image

    (tmp_path / "cat").mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "cat" / "a.png")
    assert open_image_set(str(tmp_path)).count == 1
    with pytest.raises(InputError, match=says):
        open_image_set(str(tmp_path), **options)
