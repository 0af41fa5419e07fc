"""What a teacher's scores say, found from which prompts are benign."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_guard.fitting.evidence import evidence_of


def scored(offset: float, share: float, seed: int, count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-likelihood ratios of two Gaussians of unit variance, 3 apart, less an offset; half of the prompts are benign,
    and a share of the images of the others is unsafe."""
    generator = torch.Generator().manual_seed(seed)
    asked = torch.arange(count) % 2 == 0
    unsafe = asked & (torch.rand(count, generator=generator) < share)
    x = torch.randn(count, generator=generator) + 3.0 * unsafe
    return 3 * x - 4.5 - offset, asked


@settings(max_examples=25)
@given(st.floats(-6, 6), st.floats(0.3, 0.95), st.integers(0, 1000))
def test_the_offset_from_log_odds_is_found_without_a_label(offset: float, share: float, seed: int) -> None:
    assert evidence_of(*scored(offset, share, seed)).offset == pytest.approx(offset, abs=0.6)


def test_scores_of_another_scale_are_less_likely() -> None:
    scores, asked = scored(1.0, 0.8, 0)
    right = evidence_of(scores, asked).loss
    assert right < evidence_of(scores * 3, asked).loss
    assert right < evidence_of(scores / 3, asked).loss


def test_scores_that_tell_all_prompts_apart_need_no_offset() -> None:
    scores = torch.tensor([-40.0, -30.0, 30.0, 40.0])
    assert evidence_of(scores, scores > 0).offset == pytest.approx(0.0, abs=0.5)
