"""The maths of noise, against closed forms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latent_guard.reno.generation import unscaled
from latent_guard.reno.noise import by_image, clipped, norm_regulariser


@given(st.integers(2, 64), st.integers(0, 2**31 - 1), st.floats(0.1, 10))
def test_the_regulariser_pulls_toward_the_length_of_gaussian_noise(d: int, seed: int, scale: float) -> None:
    noise = (
        scale * torch.randn(3, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ).requires_grad_()
    (gradient,) = torch.autograd.grad(norm_regulariser(noise).sum(), noise)
    length = noise.detach().norm(dim=1, keepdim=True)
    expected = noise.detach() * (1 - (d - 1) / length.square())  # of |z|^2 / 2 - (d - 1) log |z|
    assert torch.allclose(gradient, expected)


def test_the_regulariser_is_least_at_the_root_of_d_minus_one() -> None:
    direction = torch.nn.functional.normalize(torch.randn(1, 4, 8, 8).flatten(1), dim=1)
    lengths = torch.linspace(10, 22, 241)[:, None]
    best = lengths[norm_regulariser(lengths * direction).argmin()]
    assert float(best) == pytest.approx(255**0.5, abs=0.05)


@given(st.floats(0.01, 5), st.integers(0, 2**31 - 1))
def test_a_gradient_keeps_its_direction_and_is_no_longer_than_allowed(largest: float, seed: int) -> None:
    gradient = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    gradient[0] *= 1e-3
    found, before = clipped(gradient, largest).flatten(1), gradient.flatten(1)
    assert (found.norm(dim=1) <= largest * (1 + 1e-5)).all()
    assert torch.allclose(torch.cosine_similarity(found, before), torch.ones(4), atol=1e-5)
    short = before.norm(dim=1) <= largest
    assert torch.equal(found[short], before[short])


def test_a_gradient_of_zero_stays() -> None:
    assert torch.equal(clipped(torch.zeros(2, 3), 0.1), torch.zeros(2, 3))


def test_one_value_an_image_goes_with_any_shape() -> None:
    assert by_image(torch.ones(3), torch.ones(3, 5)).shape == (3, 1)
    assert by_image(torch.ones(3), torch.ones(3, 4, 8, 8)).shape == (3, 1, 1, 1)


@given(st.floats(0.5, 200), st.integers(0, 2**31 - 1), st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_noise_is_read_back_from_what_a_pipeline_scaled_to_the_last_bit(
    scale: float, seed: int, dtype: torch.dtype
) -> None:
    noise = torch.randn(64, generator=torch.Generator().manual_seed(seed)).to(dtype)
    for factor in (scale, torch.tensor(scale)):
        assert torch.equal(unscaled(noise * factor, factor) * factor, noise * factor)
