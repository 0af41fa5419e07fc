from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibrate import calibrate, compare_scorings, measure
from latent_guard.concepts.calibration_set import CalibrationSet, identity_of_images, joined
from latent_guard.concepts.texts import Concept
from latent_guard.errors import InputError

WIDTH = 8
LEVELS = torch.tensor([0.8, 0.4, 0.0])


def bank() -> ConceptBank:
    """Two concepts in one category, one in another, three benign anchors, each along an axis of its own."""
    axes = torch.eye(WIDTH)
    return ConceptBank(
        concepts=(Concept("a dagger", "violence"), Concept("an axe", "violence"), Concept("a skull", "shocking")),
        embeddings=axes[:3],
        benign_prompts=("a fork", "a hammer", "a ghost"),
        benign=axes[3:6],
        fingerprint="axes",
        logit_scale=10.0,
        noise_levels=torch.zeros(1),
        thresholds=torch.zeros(2, 1),
    )


def generations(harmless: int, unsafe: int, seed: int = 0) -> CalibrationSet:
    """Images along random axes; earlier looks are noisier. Every other unsafe one shows the second category."""
    generator = torch.Generator().manual_seed(seed)
    shown = torch.cat([torch.randint(3, 6, (harmless,), generator=generator), torch.arange(unsafe) % 3])
    noise = torch.tensor([0.6, 0.4, 0.25])
    features = torch.eye(WIDTH)[shown][:, None] + noise[:, None] * torch.randn(
        (len(shown), 3, WIDTH), generator=generator
    )
    shows = torch.stack([shown < 2, shown == 2], dim=1)
    return CalibrationSet(normalize(features, dim=-1), LEVELS, shows, ("violence", "shocking"), "axes", "a test")


@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_fresh_harmless_images_exceed_the_thresholds_at_the_chosen_rate_over_all_looks_and_categories(
    rate: float,
) -> None:
    calibrated = calibrate(bank(), generations(2000, 400), rate).bank
    fresh = measure(calibrated, generations(2000, 300, seed=1), None)
    assert fresh.rate_low <= rate
    assert fresh.exceeding > 0
    assert fresh.found > 0.7 * fresh.unsafe
    assert torch.equal(calibrated.noise_levels, LEVELS.flip(0))
    assert calibrated.thresholds.shape == (2, 3)


def test_probabilities_on_fresh_images_are_calibrated_for_the_schedule_and_for_finished_latents() -> None:
    calibrated = calibrate(bank(), generations(1500, 500), 0.05).bank
    assert calibrated.calibration is not None
    fresh = generations(1500, 500, seed=1)
    for seen, probability in (
        (fresh, calibrated.calibration.schedule),
        (fresh.finished(), calibrated.calibration.clean),
    ):
        figures = measure(calibrated, seen, probability)
        assert figures.calibration_error is not None
        assert figures.calibration_error < 0.05
        assert sum(point.count for point in figures.reliability) == 2000


def test_both_scorings_are_compared_and_the_better_one_is_deployed() -> None:
    calibrated = calibrate(bank(), generations(600, 300), 0.05).bank
    assert calibrated.calibration is not None
    chosen, other = calibrated.calibration.scorings
    assert {chosen.method, other.method} == {"log-sum-exp", "mean"}
    assert chosen.auroc >= other.auroc
    assert (calibrated.scoring, calibrated.logit_scale) == (chosen.method, chosen.logit_scale)


def test_a_category_of_one_thing_scores_alike_by_its_mean_and_one_of_opposites_does_not() -> None:
    axes = torch.eye(WIDTH)
    apart = replace(bank(), embeddings=torch.stack([axes[0], -axes[0] + 0.1 * axes[1], axes[2]]))
    seen = generations(300, 150)
    figures = {figure.method: figure.auroc for figure in compare_scorings(apart, seen)}
    assert figures["log-sum-exp"] > figures["mean"]
    mean = replace(bank(), scoring="mean").reference()
    assert mean.concepts.shape == (2, WIDTH)
    torch.testing.assert_close(mean.benign, normalize(axes[3:6].mean(0), dim=0)[None])


def test_benign_generations_alone_set_thresholds_but_no_probabilities() -> None:
    calibrated = calibrate(bank(), generations(400, 0), 0.05).bank
    report = calibrated.calibration
    assert report is not None
    assert (report.schedule, report.scorings, report.figures.auroc) == (None, (), None)
    assert report.figures.exceeding / report.figures.harmless <= 0.05
    assert calibrated.scoring == "log-sum-exp"


def test_too_few_harmless_generations_are_refused_with_how_many_it_takes() -> None:
    with pytest.raises(InputError, match="at least 99"):
        calibrate(bank(), generations(100, 20), 0.01)
    with pytest.raises(InputError, match="benign prompts"):
        calibrate(bank(), generations(0, 20), 0.05)


def test_a_calibrated_bank_is_read_back_with_its_report(tmp_path: Path) -> None:
    calibrated = calibrate(bank(), generations(300, 100), 0.05, confidence=0.9).bank
    calibrated.save(tmp_path)
    loaded = ConceptBank.load(tmp_path)
    assert loaded.calibration == calibrated.calibration
    assert (loaded.scoring, loaded.logit_scale) == (calibrated.scoring, calibrated.logit_scale)
    assert loaded.with_thresholds(loaded.noise_levels, loaded.thresholds + 1).calibration is None


def test_a_calibration_set_is_known_by_its_images_and_an_old_one_by_its_description(tmp_path: Path) -> None:
    jobs, arguments = [("a fork", 1), ("an axe", 2)], {"num_inference_steps": 20}
    identity = identity_of_images("shipped", jobs, arguments)
    assert identity == "05fe833754f0213e"
    assert identity_of_images("shipped", jobs[:1], arguments) != identity
    seen = replace(generations(300, 100), identity=identity)
    report = calibrate(bank(), seen, 0.05).bank.calibration
    assert report is not None
    seen.save(tmp_path / "seen.safetensors")
    loaded = CalibrationSet.load(tmp_path / "seen.safetensors")
    assert loaded.calibrated(report)
    assert replace(loaded, made_by="said otherwise").calibrated(report)
    assert not replace(loaded, identity="other").calibrated(report)
    assert replace(loaded, identity="").calibrated(report)
    assert not loaded.calibrated(replace(report, identity="", made_by="another set"))


@pytest.mark.parametrize("value", [torch.zeros(2000), object(), [1, object()], {"a": 1}])
def test_an_argument_whose_text_does_not_name_it_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="the call's argument 'image' is a "):
        identity_of_images("shipped", [("a fork", 1)], {"num_inference_steps": 20, "image": value})


def test_plain_arguments_name_images() -> None:
    plain = {"a": "b", "c": 1, "d": 1.5, "e": True, "f": None, "g": [1, ("x", 2.0)]}
    assert identity_of_images("shipped", [("a fork", 1)], plain) != identity_of_images("shipped", [("a fork", 1)], {})


def test_recorded_generations_are_read_back_and_refused_for_another_model(tmp_path: Path) -> None:
    seen = joined([generations(5, 3), generations(4, 2, seed=1)])
    seen.save(tmp_path / "seen.safetensors")
    loaded = CalibrationSet.load(tmp_path / "seen.safetensors")
    assert (len(loaded), loaded.categories, loaded.made_by) == (14, seen.categories, "a test")
    torch.testing.assert_close(loaded.margins(bank()), seen.margins(bank()), atol=0.05, rtol=0)
    with pytest.raises(InputError, match="record it again"):
        replace(loaded, fingerprint="other").scores(bank())
    (tmp_path / "seen.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"seen\.safetensors"):
        CalibrationSet.load(tmp_path / "seen.safetensors")


@pytest.mark.parametrize(
    ("features", "levels"),
    [
        (torch.full((2, 3, WIDTH), torch.nan), LEVELS),
        (torch.zeros(2, 3, WIDTH), LEVELS.flip(0)),
        (torch.zeros(2, 2, WIDTH), LEVELS),
    ],
)
def test_generations_that_do_not_end_in_a_finished_image_are_refused(features: Tensor, levels: Tensor) -> None:
    with pytest.raises(InputError, match="calibration set"):
        CalibrationSet(features, levels, torch.zeros(2, 1, dtype=torch.bool), ("violence",), "axes", "a test")


def test_the_three_plots_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    from latent_guard.concepts.calibration_plots import write_plots

    calibrated = calibrate(bank(), generations(300, 100), 0.05)
    paths = write_plots(tmp_path, calibrated.bank, calibrated.held_out)
    assert [path.name for path in paths] == ["roc.png", "precision_recall.png", "reliability.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert min(picture.size) > 300
