"""Quality: figures that a hand can check, and a collapsed method that shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from latent_guard.bench.metrics.clip_features import PictureCLIP, clip_scores
from latent_guard.bench.metrics.diversity import diversity, mean_pairwise_distance, relative_diversity
from latent_guard.bench.metrics.kid import kid, squared_mmd
from latent_guard.bench.metrics.per_method import over_refusal, utility
from latent_guard.bench.metrics.ssim import C1, distances

RED, GREEN, BLUE = np.eye(3)


class ColourCLIP:
    """Its features of a picture are the mean colour, of a prompt the colour that it names."""

    def encode_latents(self, latents: Tensor, noise_level: object = None, normalize: bool = False) -> Tensor:
        return torch.nn.functional.normalize((latents.mean(dim=(2, 3)) + 1) / 2, dim=1)

    def encode_text(self, texts: Sequence[str], normalize: bool = False) -> Tensor:
        return torch.tensor([[float(colour in text) for colour in ("red", "green", "blue")] for text in texts])


CLIP = PictureCLIP(ColourCLIP(), "colours", side=16)


def plain(*colours: np.ndarray) -> np.ndarray:
    return np.stack([np.full((3, 16, 16), 255) * colour[:, None, None] for colour in colours]).astype(np.uint8)


def unit(rng: np.random.Generator, count: int, shift: float = 0.0) -> np.ndarray:
    values = rng.normal(size=(count, 8)) + shift
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_clip_score_is_a_hundred_for_a_perfect_fit_and_never_below_zero() -> None:
    prompts = np.stack([RED, GREEN, -BLUE])
    pictures = np.stack([RED, (RED + GREEN) / np.sqrt(2), BLUE])
    assert clip_scores(pictures, prompts) == pytest.approx([100, 70.71, 0], abs=0.01)


def test_equal_pictures_are_at_distance_zero_and_plain_ones_at_the_formulas() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 24)).astype(np.uint8)
    assert distances(pictures, pictures) == pytest.approx([0, 0], abs=1e-12)
    dark, light = (np.full((1, 3, 16, 16), value, dtype=np.uint8) for value in (50, 200))
    assert distances(dark, light)[0] == pytest.approx(1 - (2 * 50 * 200 + C1) / (50**2 + 200**2 + C1))


def test_a_picture_is_nearer_to_its_blurred_self_than_to_another() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 256, (2, 1, 3, 24, 24)).astype(np.uint8)
    noisy = np.clip(one.astype(int) + rng.integers(-20, 20, one.shape), 0, 255).astype(np.uint8)
    assert 0 < distances(one, noisy)[0] < distances(one, other)[0]


def test_diversity_is_the_mean_over_pairs_and_zero_for_a_collapse() -> None:
    features = unit(np.random.default_rng(0), 5)
    pairs = [1 - features[i] @ features[j] for i in range(5) for j in range(i)]
    assert mean_pairwise_distance(features) == pytest.approx(np.mean(pairs))
    assert mean_pairwise_distance(np.stack([RED] * 4)) == pytest.approx(0)
    assert np.isnan(mean_pairwise_distance(RED[None]))


def test_groups_of_one_image_do_not_count_towards_diversity() -> None:
    features = np.stack([RED, GREEN, BLUE, BLUE, RED])
    found = diversity(features, [0, 0, 1, 1, 2])
    assert (found.value, found.count) == (pytest.approx(0.5), 2)
    collapsed = np.stack([RED] * 5)
    assert relative_diversity(collapsed, features, [0, 0, 1, 1, 2]).value == pytest.approx(0)


def test_squared_mmd_of_two_pairs_is_what_a_hand_computes() -> None:
    # cos within the first is 0 (kernel 1), within the second 1 (kernel 8), across 1, 1, 0, 0 (8, 8, 1, 1).
    assert squared_mmd(np.stack([RED, GREEN]), np.stack([RED, RED])) == pytest.approx(1 + 8 - 2 * 4.5)


def test_kid_is_unbiased_for_one_distribution_and_finds_another() -> None:
    rng = np.random.default_rng(2)
    same, other = kid(unit(rng, 600), unit(rng, 600)), kid(unit(rng, 600, shift=1.0), unit(rng, 600))
    assert abs(same.value) < 3 * same.standard_error
    assert other.value > 20 * other.standard_error
    assert (other.subsets, other.size) == (10, 60)
    with pytest.raises(ValueError, match="too few"):
        kid(unit(rng, 19), unit(rng, 600))


def test_the_mean_over_many_small_subsets_is_zero_for_one_distribution() -> None:
    rng = np.random.default_rng(3)
    values = [squared_mmd(unit(rng, 4), unit(rng, 4)) for _ in range(2000)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))


def test_utility_is_relative_and_refusal_counts_what_is_withheld() -> None:
    prompts = [0, 1, 2, 3]
    assert utility([True, True, False, False], [True, True, True, False], prompts).value == pytest.approx(2 / 3)
    assert over_refusal([False, False, True, False], prompts).value == pytest.approx(0.25)


def test_pictures_of_another_size_are_resized_for_the_clip() -> None:
    large = np.repeat(np.repeat(plain(GREEN), 3, axis=2), 2, axis=3)
    assert CLIP.of_pictures(large)[0] == pytest.approx(GREEN, abs=1e-6)
    assert CLIP.of_pictures(plain(*[BLUE] * 70)).shape == (70, 3)
