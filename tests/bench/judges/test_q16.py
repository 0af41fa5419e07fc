"""Q16 against a tiny CLIP and prompt files in the exact format, honest and not."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from latent_guard.bench.judges.q16_prompts import read_q16_prompts
from latent_guard.bench.judges.registry import open_judge
from latent_guard.errors import InputError
from tests.bench.judges.pictures import benign

WIDTH = 16
TINY = {
    "embed_dim": WIDTH,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}


def pickled(array: Any, module: bytes = b"numpy.core.multiarray") -> bytes:
    """As Q16's own file is: protocol 3, of numpy 1."""
    return re.sub(rb"numpy\._?core\.multiarray", module, pickle.dumps(array, protocol=3))


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-for-q16.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-for-q16.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model("tiny-for-q16").state_dict(), folder / "weights.pt")
    yield folder / "weights.pt"
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder / "tiny-for-q16.json")
    open_clip.factory._rescan_model_configs()


def test_an_image_is_inappropriate_where_the_second_prompt_is_nearer(tmp_path: Path, weights: Path) -> None:
    clip, _, preprocess = open_clip.create_model_and_transforms("tiny-for-q16", pretrained=str(weights))
    pictures = benign()
    images = torch.stack([preprocess(Image.fromarray(p.transpose(1, 2, 0))) for p in pictures])
    with torch.no_grad():
        embeddings = clip.eval().encode_image(images).numpy()
    # The second prompt is the third picture's own embedding, so that one must be inappropriate.
    prompts = np.stack([embeddings[0], 3 * embeddings[2]]).astype(np.float16)
    path = written(tmp_path / "prompts.p", pickled(prompts))
    judge = open_judge("q16", {"prompts": str(path), "model": "tiny-for-q16", "pretrained": str(weights)})
    said = judge.judge(pictures)

    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    aim = prompts.astype(np.float32)
    logits = 100 * unit @ (aim / np.linalg.norm(aim, axis=1, keepdims=True)).T
    np.testing.assert_array_equal(said.unsafe, logits.argmax(axis=1) == 1)
    np.testing.assert_allclose(said.scores, 1 / (1 + np.exp(logits[:, 0] - logits[:, 1])), atol=1e-4)
    assert said.unsafe[2]
    assert not said.unsafe[0]
    assert said.labels[2] == ("inappropriate",)
    assert judge.judge(pictures[:0]).unsafe.shape == (0,)
    assert "tiny-for-q16" in judge.preset
    assert judge.preset.count("sha256") == 2


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"], ids=["numpy 1", "numpy 2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_prompt_file_reads_as_numpy_wrote_it(tmp_path: Path, module: bytes, order: Any) -> None:
    prompts = np.random.default_rng(0).standard_normal((2, 768)).astype(np.float16, order=order)
    read = read_q16_prompts(written(tmp_path / "prompts.p", pickled(prompts, module)))
    np.testing.assert_array_equal(read, prompts)
    assert read.dtype == np.float32


class Hostile:
    def __reduce__(self) -> Any:
        return print, ("RAN",)


@pytest.mark.parametrize(
    "content",
    [
        Hostile(),
        [np.zeros((2, 4), np.float16), Hostile()],
        np.array([Hostile()], dtype=object),
        np.zeros((2, 4), np.complex64),
        np.zeros((2, 4), np.int64),
        np.zeros((3, 4), np.float16),
        np.zeros((2, 0), np.float16),
        np.full((2, 4), np.nan, np.float16),
        "text",
    ],
    ids=["object", "list", "objects", "complex", "integers", "three rows", "no columns", "not finite", "text"],
)
def test_any_other_pickle_is_refused_and_runs_nothing(tmp_path: Path, content: Any, capsys: Any) -> None:
    path = written(tmp_path / "prompts.p", pickle.dumps(content, protocol=3))
    with pytest.raises(InputError, match=r"prompts\.p") as caught:
        read_q16_prompts(path)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_is_refused_or_read_never_worse(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, cut: bool
) -> None:
    data = bytearray(pickled(np.ones((2, 8), np.float16)))
    at %= len(data)
    data[at] = byte
    path = written(tmp_path_factory.getbasetemp() / "damaged.p", bytes(data[: at + 1] if cut else data))
    with suppress(InputError):  # and nothing else
        assert len(read_q16_prompts(path)) == 2


def test_what_is_missing_is_named_before_the_run(tmp_path: Path, weights: Path) -> None:
    path = written(tmp_path / "prompts.p", pickled(np.ones((2, WIDTH), np.float16)))
    wide = written(tmp_path / "wide.p", pickled(np.ones((2, 768), np.float16)))
    (tmp_path / "large.p").write_bytes(bytes(2_000_000))
    tiny = {"model": "tiny-for-q16", "pretrained": str(weights)}
    for options, complaint in [
        ({}, "name its prompt file"),
        ({"prompts": tmp_path / "none.p"}, "cannot read Q16's prompt file"),
        ({"prompts": tmp_path / "large.p"}, "2000000 bytes"),
        ({"prompts": wide, **tiny}, "embeddings of 768 numbers, and those of tiny-for-q16 have 16"),
        ({"prompts": path, **tiny, "pretrained": "nowhere.pt"}, "has no weights 'nowhere.pt'"),
        ({"prompts": path, **tiny, "pretrained": ""}, "pretrained is empty"),
        ({"prompts": path, "model": "ViT-none"}, "open_clip has no model 'ViT-none'"),
    ]:
        with pytest.raises(InputError, match=complaint):
            open_judge("q16", options)
