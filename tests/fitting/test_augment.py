"""Augmentation of estimates: what they show stays."""

from __future__ import annotations

import pytest
import torch

from latent_guard.fitting import augment
from latent_guard.fitting.augment import MOST_NOISE, augmented
from latent_guard.latent_clip.latent_space import LatentSpace

SPACE = LatentSpace("AutoencoderKL", 4, 8, scaling_factor=0.25, shift_factor=1.0)


def drawn(raw: torch.Tensor, space: LatentSpace = SPACE, seed: int = 0) -> torch.Tensor:
    return augmented(raw, space, torch.Generator().manual_seed(seed))


def test_half_are_flipped_and_nothing_else_is_done_without_noise(monkeypatch) -> None:
    monkeypatch.setattr(augment, "MOST_NOISE", 0.0)
    raw = torch.randn(200, 4, 8, 8)
    found = drawn(raw)
    same, flipped = ((found - other).abs().amax(dim=(1, 2, 3)) < 1e-5 for other in (raw, raw.flip(-1)))
    assert bool((same ^ flipped).all())
    assert 70 < int(flipped.sum()) < 130


@pytest.mark.parametrize(
    "space",
    [
        SPACE,
        LatentSpace("AutoencoderKL", 4, 8, scaling_factor=2.0),
        LatentSpace("AutoencoderKLFlux2", 4, 8, patch=2, mean=(0.5,) * 16, std=(3.0,) * 16),
    ],
)
def test_noise_is_as_strong_in_every_space(monkeypatch, space: LatentSpace) -> None:
    monkeypatch.setattr(augment, "FLIPPED", 0.0)
    raw = torch.randn(300, 4, 8, 8)
    noise = (space.from_raw(drawn(raw, space)) - space.from_raw(raw)).flatten(1).std(dim=1)
    assert float(noise.max()) == pytest.approx(MOST_NOISE, rel=0.15)
    assert float(noise.mean()) == pytest.approx(MOST_NOISE / 2, rel=0.15)
    assert float(noise.min()) < 0.1 * MOST_NOISE


def test_it_depends_on_the_generator_alone() -> None:
    raw = torch.randn(8, 4, 8, 8)
    assert torch.equal(drawn(raw), drawn(raw))
    assert not torch.equal(drawn(raw), drawn(raw, seed=1))
