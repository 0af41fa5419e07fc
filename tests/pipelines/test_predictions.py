"""Model output and clean estimate are each other's inverse."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_guard.errors import UnsupportedPipelineError
from latent_guard.pipelines.predictions import FLOW, KINDS, StepState, clean_estimate, model_output_for


def weights(angle: float, kind: str) -> tuple[float, float]:
    """Signal and sigma of a place on the way, for flow matching or for the variance-preserving kinds."""
    share = angle / (math.pi / 2)
    return (1 - share, share) if kind == FLOW else (math.cos(angle), math.sin(angle))


@pytest.mark.parametrize("kind", KINDS)
@given(angle=st.floats(0.02, math.pi / 2 - 0.02), seed=st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_model_output_and_clean_estimate_are_inverses(kind: str, angle: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    output, sample = torch.randn(2, 2, 4, 3, 3, generator=generator, dtype=torch.float64)
    signal, sigma = weights(angle, kind)
    clean = clean_estimate(output, sample, signal, sigma, kind)
    back = model_output_for(clean, sample, signal, sigma, kind)
    torch.testing.assert_close(back, output, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@given(angle=st.floats(0.02, math.pi / 2 - 0.02), seed=st.integers(0, 2**31), size=st.floats(0.1, 30.0))
@settings(max_examples=50, deadline=None)
def test_in_float32_the_way_there_and_back_stays_within_the_stated_bound(
    kind: str, angle: float, seed: int, size: float
) -> None:
    output, sample = size * torch.randn(2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
    signal, sigma = weights(angle, kind)
    state = StepState(signal, sigma, kind, 0)
    clean = state.clean_estimate(output, sample)
    again = state.clean_estimate(state.model_output_for(clean, sample), sample)
    terms = float(sample.abs().max() + sigma * output.abs().max())
    bound = 4 * 2**-23 * terms / (signal if kind == "epsilon" else 1.0)
    assert float((again - clean).abs().max()) <= bound


@pytest.mark.parametrize("function", [clean_estimate, model_output_for])
def test_an_unknown_kind_is_named(function: object) -> None:
    with pytest.raises(UnsupportedPipelineError, match="trigflow"):
        function(torch.zeros(1), torch.zeros(1), 0.5, 0.5, "trigflow")  # type: ignore[operator]
