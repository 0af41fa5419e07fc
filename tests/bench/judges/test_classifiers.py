"""The safety checker and image classifiers, tiny, saved and read in the format of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPVisionConfig,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from latent_guard.bench.judges.registry import open_judge
from latent_guard.errors import InputError
from tests.bench.judges.pictures import benign

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def saved_checker(folder: Path, threshold: float, in_pipeline: bool = False) -> Path:
    torch.manual_seed(0)
    vision = CLIPVisionConfig(image_size=32, patch_size=16, projection_dim=16, **SMALL)
    text = CLIPTextConfig(vocab_size=32, projection_dim=16, **SMALL)
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
    )
    checker.concept_embeds_weights.data.fill_(threshold)
    checker.special_care_embeds_weights.data.fill_(2.0)
    checker.save_pretrained(folder / "safety_checker" if in_pipeline else folder)
    extractor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    extractor.save_pretrained(folder / "feature_extractor" if in_pipeline else folder)
    return folder


def saved_classifier(folder: Path, labels: list[str], favours: int, problem: str | None = None) -> Path:
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=32,
        patch_size=16,
        id2label=dict(enumerate(labels)),
        label2id={n: i for i, n in enumerate(labels)},
        **SMALL,
    )
    config.problem_type = problem
    model = ViTForImageClassification(config)
    model.classifier.weight.data.zero_()
    model.classifier.bias.data.copy_(3.0 * torch.eye(len(labels))[favours])
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("in_pipeline", [False, True], ids=["its folder", "a pipeline's folder"])
@pytest.mark.parametrize(("threshold", "unsafe"), [(-2.0, True), (2.0, False)])
def test_the_safety_checker_decides_as_its_class_does(
    tmp_path: Path, threshold: float, unsafe: bool, in_pipeline: bool
) -> None:
    judge = open_judge("safety-checker", {"model": saved_checker(tmp_path, threshold, in_pipeline)})
    said = judge.judge(benign())
    assert said.unsafe.tolist() == [unsafe] * 4
    assert np.isnan(said.scores).all()
    assert said.labels == ((("hidden concept",) if unsafe else ()),) * 4
    assert "sha256" in judge.preset


def test_the_safety_checker_may_disagree_over_pictures(tmp_path: Path) -> None:
    folder = saved_checker(tmp_path, 0.0)
    checker = StableDiffusionSafetyChecker.from_pretrained(folder).eval()
    extractor = CLIPImageProcessor.from_pretrained(folder)
    pictures = benign()
    with torch.no_grad():
        pixels = extractor([p.transpose(1, 2, 0) for p in pictures], return_tensors="pt").pixel_values
        _, expected = checker(clip_input=pixels, images=np.zeros((4, 1, 1, 3)))
    assert open_judge("safety-checker", {"model": folder}).judge(pictures).unsafe.tolist() == expected


def test_an_absent_safety_checker_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="as Stable Diffusion's safety checker with its feature extractor"):
        open_judge("safety-checker", {"model": tmp_path})


def test_a_classifier_is_unsafe_where_its_unsafe_labels_together_are_likely(tmp_path: Path) -> None:
    folder = saved_classifier(tmp_path, ["neutral", "low", "medium", "high"], favours=3)
    likely = float(np.exp(3) / (np.exp(3) + 3))
    said = open_judge(str(folder), {"labels": ["medium", "high"]}).judge(benign())
    np.testing.assert_allclose(said.scores, likely + (1 - likely) / 3, atol=1e-5)
    assert said.unsafe.all()
    assert said.labels == (("high",),) * 4
    strict = open_judge(str(folder), {"labels": "medium", "threshold": 0.9})
    assert not strict.judge(benign()).unsafe.any()
    assert "medium at 0.9 or more" in strict.preset
    assert strict.judge(benign()[:0]).labels == ()


def test_of_a_multi_label_model_the_likeliest_unsafe_label_counts(tmp_path: Path) -> None:
    folder = saved_classifier(tmp_path, ["gore", "nude"], favours=0, problem="multi_label_classification")
    said = open_judge(str(folder), {"labels": ["gore", "nude"]}).judge(benign())
    np.testing.assert_allclose(said.scores, 1 / (1 + np.exp(-3)), atol=1e-5)
    assert said.labels == (("gore",),) * 4


def test_labels_that_are_not_known_must_be_named(tmp_path: Path) -> None:
    folder = saved_classifier(tmp_path, ["normal", "nsfw"], favours=0)
    with pytest.raises(InputError, match="not known; name some of normal, nsfw as labels"):
        open_judge(str(folder), {})
    with pytest.raises(InputError, match="no label 'porn'; name some of normal, nsfw"):
        open_judge(str(folder), {"labels": ["porn"]})
    with pytest.raises(InputError, match="threshold 2"):
        open_judge(str(folder), {"labels": ["nsfw"], "threshold": 2})


def test_a_known_models_labels_need_not_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved_classifier(tmp_path / "Falconsai" / "nsfw_image_detection", ["normal", "nsfw"], favours=1)
    monkeypatch.chdir(tmp_path)
    judge = open_judge("Falconsai/nsfw_image_detection", {})
    assert judge.judge(benign()).unsafe.all()
    assert folder.name in judge.preset


def test_a_classifier_that_cannot_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        InputError, match="cannot load the image classifier nobody/nothing: HF_HUB_OFFLINE forbids downloads"
    ):
        open_judge("nobody/nothing", {})
