"""What scores can be at most: by it a category that can never act is told."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from latent_guard.concepts.scoring import METHODS, Method, Reference, rows_of_each


@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 100.0), method=st.sampled_from(METHODS))
@settings(max_examples=40, deadline=None)
def test_no_image_scores_more_than_the_highest_score(seed: int, scale: float, method: Method) -> None:
    generator = torch.Generator().manual_seed(seed)
    concepts, benign = (normalize(torch.randn(n, 6, generator=generator), dim=-1) for n in (5, 3))
    every = Reference(concepts, rows_of_each(torch.tensor([0, 0, 1, 1, 1])), benign, scale)
    reference = every.by(method)
    images = normalize(torch.cat([torch.randn(200, 6, generator=generator), concepts, concepts - benign[0]]), dim=-1)
    assert (reference.scores(images) <= reference.max_scores() + 1e-3).all()


def test_the_highest_score_is_reached_by_a_concept_and_its_opposite_anchor() -> None:
    axis = torch.tensor([[1.0, 0.0]])
    reference = Reference(axis, rows_of_each(torch.tensor([0])), -axis, 10.0)
    assert reference.max_scores().tolist() == pytest.approx([20.0])
    assert reference.scores(axis).tolist() == [pytest.approx([20.0])]
