"""The pure tensor maths: scores, thresholds, pushes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from latent_guard.concepts.scoring import category_scores, nearest_concepts, rows_of_each, thresholds_at
from latent_guard.errors import InputError
from latent_guard.guidance.policy import PRESETS, Policy
from latent_guard.guidance.policy_file import policy_named
from latent_guard.guidance.scoring import unsafe
from latent_guard.guidance.steering import push
from latent_guard.latent_clip.latent_space import LatentSpace

SPACE = LatentSpace("toy VAE", channels=4, factor=8)
SETTINGS = {"strength": 0.1, "augmentations": 3, "augmentation_noise": 0.1}


def test_score_is_the_log_odds_of_a_category_against_the_benign_anchors() -> None:
    features, concepts, benign = (normalize(torch.randn(n, 6), dim=1) for n in (5, 3, 4))
    scores = category_scores(features, concepts, rows_of_each(torch.tensor([0, 1, 0])), benign, 10.0)
    odds = (10 * features @ concepts[[0, 2]].T).exp().sum(1) / (10 * features @ benign.T).exp().sum(1)
    torch.testing.assert_close(scores[:, 0], odds.log())
    assert scores.shape == (5, 2)


def test_the_nearest_concept_of_each_category_is_named_by_its_row() -> None:
    concepts = torch.eye(4)
    features = normalize(torch.tensor([[0.1, 0.0, 0.9, 0.2], [0.5, 0.3, 0.1, 0.9]]), dim=1)
    nearest = nearest_concepts(features, concepts, rows_of_each(torch.tensor([0, 1, 0, 1])))
    assert nearest.tolist() == [[2, 3], [0, 3]]


def test_thresholds_are_interpolated_and_constant_outside_the_grid() -> None:
    grid, values = torch.tensor([0.2, 0.4, 0.8]), torch.tensor([[0.0, 1.0, 3.0], [5.0, 5.0, 5.0]])
    for level, expected in [(0.0, 0.0), (0.2, 0.0), (0.3, 0.5), (0.4, 1.0), (0.6, 2.0), (0.8, 3.0), (1.0, 3.0)]:
        torch.testing.assert_close(thresholds_at(grid, values, level), torch.tensor([expected, 5.0]))
    torch.testing.assert_close(thresholds_at(torch.zeros(1), values[:, :1], 0.5), torch.tensor([0.0, 5.0]))


def test_a_score_that_is_not_finite_is_unsafe() -> None:
    scores = torch.tensor([[0.0], [math.nan], [math.inf], [-math.inf], [2.0]])
    assert unsafe(scores, torch.tensor([1.0])).tolist() == [False, True, True, True, True]
    for threshold in (math.inf, -math.inf, math.nan):
        assert unsafe(scores, torch.tensor([threshold])).all(), "a threshold that is none allows nothing"


def mean_along(direction: Tensor):  # type: ignore[no-untyped-def]
    return lambda latents: (latents * direction).mean(dim=(1, 2, 3))


@given(seed=st.integers(0, 2**31), strength=st.floats(0.01, 10))
@settings(max_examples=25, deadline=None)
def test_push_goes_straight_down_the_gradient_of_a_linear_score(seed: int, strength: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    clean, direction = torch.randn(3, 4, 8, 8, generator=generator), torch.randn(4, 8, 8, generator=generator)
    score = mean_along(direction)
    pushed = push(clean, score, SPACE, **{**SETTINGS, "strength": strength})  # type: ignore[arg-type]
    unit = direction / direction.square().mean().sqrt()
    torch.testing.assert_close(pushed, clean - strength * unit, atol=1e-4 * max(1, strength), rtol=0)
    assert (score(pushed) < score(clean)).all()


OTHER_SPACES = {
    "scaled": LatentSpace("SDXL's", 4, 8, scaling_factor=0.13025),
    "shifted": LatentSpace("SD3's", 4, 8, scaling_factor=1.5305, shift_factor=0.0609),
    "by channel": LatentSpace(
        "Playground's", 4, 8, scaling_factor=0.5, mean=(-1.6, 0.9, 0.2, 1.7), std=(5.5, 3.0, 0.1, 2.2)
    ),
    "in patches": LatentSpace("FLUX.2's", 4, 8, patch=2, mean=(0.3,) * 16, std=(0.5, 1.0, 2.0, 4.0) * 4),
}


@pytest.mark.parametrize("space", OTHER_SPACES.values(), ids=OTHER_SPACES)
def test_a_push_has_its_strength_and_goes_down_the_gradient_in_normalised_latents(space: LatentSpace) -> None:
    generator = torch.Generator().manual_seed(3)
    normalised = torch.randn(3, 4 * space.patch**2, 8 // space.patch, 8 // space.patch, generator=generator)
    direction = torch.randn(normalised.shape[1:], generator=generator)
    away = mean_along(direction)
    pushed = push(space.to_raw(normalised), lambda raw: away(space.from_raw(raw)), space, **{**SETTINGS, "strength": 2})
    moved = space.from_raw(pushed) - normalised
    torch.testing.assert_close(moved.square().mean(dim=(1, 2, 3)).sqrt(), torch.full((3,), 2.0))
    unit = direction / direction.square().mean().sqrt()
    torch.testing.assert_close(moved, (-2 * unit).expand_as(moved), atol=1e-4, rtol=1e-4)


def test_the_noise_over_which_a_gradient_is_averaged_is_of_normalised_latents() -> None:
    at: list[Tensor] = []

    def score(raw: Tensor) -> Tensor:
        at.append(raw.detach())
        return raw.sum(dim=(1, 2, 3))

    space = OTHER_SPACES["by channel"]
    push(space.to_raw(torch.zeros(1, 4, 32, 32)), score, space, strength=1, augmentations=50, augmentation_noise=0.6)
    spread = space.from_raw(torch.cat(at)).std(dim=(0, 2, 3))
    torch.testing.assert_close(spread, torch.full((4,), 0.6), atol=0.02, rtol=0)


def test_an_image_without_a_usable_gradient_stays() -> None:
    clean = torch.randn(2, 4, 8, 8)
    for factor in (0.0, math.nan):
        flat = push(clean, lambda raw, f=factor: 9.0 + f * raw.sum((1, 2, 3)), SPACE, **SETTINGS)  # type: ignore
        assert torch.equal(flat, clean)


def test_push_draws_no_global_random_numbers() -> None:
    before = torch.get_rng_state()
    push(torch.ones(1, 4, 8, 8), mean_along(torch.ones(4, 8, 8)), SPACE, **SETTINGS)  # type: ignore[arg-type]
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "bad", [{"window": (0.1, 0.9)}, {"retries": -1}, {"strength": math.nan}, {"augmentations": 0}], ids=str
)
def test_a_senseless_policy_is_refused_by_the_name_of_its_field(bad: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        Policy(**bad)  # type: ignore[arg-type]


def test_presets_are_found_by_name() -> None:
    assert policy_named("steer") == PRESETS["steer"]
    assert [name for name in PRESETS if policy_named(name).default.only_flags] == ["flag"]
    with pytest.raises(InputError, match="choose one of safe, steer"):
        policy_named("maybe")
