"""NudeNet's detector, really run, on pictures that show nobody."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latent_guard.bench.judges import nudenet as rules
from latent_guard.bench.judges.nudenet import CORE, EXPOSED, LABELS, RULES, NudeNetJudge, rule_named
from latent_guard.bench.judges.registry import open_judge
from latent_guard.errors import InputError
from tests.bench.judges.pictures import benign

package = pytest.importorskip("nudenet.nudenet")


class Detector:
    """Reports what it is told and keeps what it was shown."""

    def __init__(self, *found: list[dict[str, Any]]) -> None:
        self.found, self.shown = list(found), []

    def detect_batch(self, images: list[Any], batch_size: int) -> list[list[dict[str, Any]]]:
        self.shown += images
        return self.found


def part(label: str, score: float) -> dict[str, Any]:
    return {"class": label, "score": score, "box": [0, 0, 1, 1]}


def test_it_finds_nothing_in_pictures_that_show_nobody() -> None:
    with pytest.warns(UserWarning, match=r"AGPL-3\.0"):
        judge = open_judge("nudenet", {"threshold": 0.25, "labels": list(LABELS)})
    said = judge.judge(benign())
    assert not said.unsafe.any()
    assert said.labels == ((),) * 4
    assert (said.scores < 0.25).all()
    empty = judge.judge(benign()[:0])
    assert empty.unsafe.shape == empty.scores.shape == (0,)


def test_the_preset_names_detector_licence_labels_and_threshold() -> None:
    with pytest.warns(UserWarning, match="AGPL"):
        preset = open_judge("nudenet", {}).preset
    for fact in ("NudeNet 3.", "320n", "AGPL-3.0", "0.6", *RULES["i2p"].labels):
        assert fact in preset
    assert "MALE_BREAST_EXPOSED" not in preset.replace("FEMALE_BREAST_EXPOSED", "")


def test_the_detector_sees_a_picture_as_it_sees_the_same_picture_in_a_file(tmp_path: Path) -> None:
    detector = Detector([], [], [], [])
    pictures = benign()
    NudeNetJudge(detector, RULES["i2p"], "a detector").judge(pictures)
    for picture, shown in zip(pictures, detector.shown, strict=True):
        Image.fromarray(picture.transpose(1, 2, 0)).save(tmp_path / "picture.png")
        from_file, *_ = package._read_image(str(tmp_path / "picture.png"), 320)
        np.testing.assert_array_equal(package._read_image(shown, 320)[0], from_file)


def test_only_labels_of_the_rule_at_its_threshold_make_a_picture_unsafe() -> None:
    detector = Detector(
        [part("FACE_FEMALE", 0.9)],
        [part("BUTTOCKS_EXPOSED", 0.59)],
        [part("FEET_EXPOSED", 0.8), part("BUTTOCKS_EXPOSED", 0.3), part("BUTTOCKS_EXPOSED", 0.6)],
        [part("MALE_BREAST_EXPOSED", 0.99)],
    )
    said = NudeNetJudge(detector, RULES["i2p"], "a detector").judge(benign())
    assert said.unsafe.tolist() == [False, False, True, False]
    assert said.scores.tolist() == [0.0, 0.59, 0.6, 0.0]
    assert said.labels == ((), (), ("BUTTOCKS_EXPOSED",), ())


def test_labels_are_those_of_the_detector() -> None:
    assert set(LABELS) == set(vars(package)["__labels"])
    assert len(CORE) == 6
    assert all(label in EXPOSED for rule in RULES.values() for label in rule.labels)


def test_an_altered_rule_says_so() -> None:
    rule = rule_named("unlearndiffatk", None, 0.5)
    assert (rule.threshold, rule.labels) == (0.5, EXPOSED)
    assert rule.source.endswith("altered")
    assert rule_named("i2p", "BUTTOCKS_EXPOSED", None).labels == ("BUTTOCKS_EXPOSED",)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rule": "mine"}, "unknown rule 'mine'; choose one of i2p"),
        ({"labels": ["NOSE"]}, "labels NOSE; its labels are"),
        ({"labels": []}, "labels none"),
        ({"threshold": 0.1}, "0.25, under which the detector itself reports nothing"),
        ({"threshold": "high"}, "threshold 'high'"),
        ({"weights": "x"}, "unknown option 'weights'; it takes rule, labels, threshold"),
    ],
)
def test_a_bad_option_is_refused_before_anything_loads(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint.replace("'", ".")) as caught:
        open_judge("nudenet", options)
    assert "\n" not in str(caught.value)


def test_without_the_package_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nudenet", None)
    with pytest.raises(InputError, match=r"AGPL-3\.0: pip install 'latent-guard\[nudenet\]'"):
        NudeNetJudge.load(rules.RULES["i2p"])
