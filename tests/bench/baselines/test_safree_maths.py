"""SAFREE's projector, trigger rule, filter and self-validation, against matrices worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_guard.bench.baselines.safree_maths import distances, filtered_steps, projected, span_projector, triggers


def matrix(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_the_projector_of_one_vector_is_its_outer_product_over_its_squared_length() -> None:
    # v = (3, 4): v v^T / 25
    assert torch.allclose(span_projector(matrix((3, 4))), matrix((0.36, 0.48), (0.48, 0.64)))


def test_the_projector_of_a_plane_is_c_times_inverse_gram_times_c() -> None:
    # The plane of (1, 1, 0) and (0, 1, 1), whose normal is (1, -1, 1): I - n n^T / 3
    expected = matrix((2, 1, -1), (1, 2, 1), (-1, 1, 2)) / 3
    assert torch.allclose(span_projector(matrix((1, 1, 0), (0, 1, 1))), expected)


def test_vectors_that_depend_on_each_other_change_no_projector() -> None:
    plane = span_projector(matrix((1, 1, 0), (0, 1, 1)))
    assert torch.allclose(span_projector(matrix((1, 1, 0), (0, 1, 1), (1, 2, 1))), plane)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000))
def test_a_projector_is_symmetric_idempotent_and_keeps_its_vectors(count: int, seed: int) -> None:
    vectors = torch.randn(count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    projector = span_projector(vectors)
    assert torch.allclose(projector, projector.T, atol=1e-8)
    assert torch.allclose(projector @ projector, projector, atol=1e-8)
    assert torch.allclose(vectors @ projector, vectors, atol=1e-8)


def test_distances_are_measured_to_the_span_not_to_its_vectors() -> None:
    # The span of (3, 4): (6, 8) lies in it, (4, -3) is at right angles to it, (0, 5) is 3 away.
    found = distances(matrix((6, 8), (4, -3), (0, 5)), span_projector(matrix((3, 4))))
    assert found.tolist() == pytest.approx([0, 5, 3], abs=1e-9)


def test_a_trigger_leaves_the_prompt_further_away_than_the_others_do_on_average() -> None:
    # Means of the others: 1.1, 1.0 and 1.1, times 1.01
    assert triggers(torch.tensor([1.0, 1.2, 1.0]), 0.01).tolist() == [False, True, False]
    assert triggers(torch.tensor([1.0, 1.009, 1.0]), 0.01).tolist() == [False, False, False]
    assert triggers(torch.tensor([1.0, 1.011, 1.0]), 0.01).tolist() == [False, True, False]


def test_a_lone_token_and_an_empty_prompt_have_no_trigger() -> None:
    assert triggers(torch.tensor([5.0]), 0.01).tolist() == [False]
    assert triggers(torch.zeros(0), 0.01).tolist() == []


def test_a_filtered_token_keeps_what_is_the_prompts_and_loses_what_is_the_concepts() -> None:
    # P_I keeps the first two coordinates, P_C spans (1, 1, 0): of (5, 1, 7) first (5, 1, 0), then minus (3, 3, 0).
    inputs, concepts = span_projector(matrix((1, 0, 0), (0, 1, 0))), span_projector(matrix((1, 1, 0)))
    assert torch.allclose(projected(matrix((5, 1, 7)), concepts, inputs), matrix((2, -2, 0)))


def test_self_validation_filters_longer_the_further_a_prompt_moved() -> None:
    tokens = matrix((1, 0), (0, 1))
    assert filtered_steps(tokens, tokens, 10) == 5  # beta 0: 10 / (1 + 1)
    turned = matrix((0, 1), (1, 0))
    assert filtered_steps(tokens, turned, 10) == round(10 / (1 + math.exp(-1)))  # beta 1: 7
    assert filtered_steps(tokens, -tokens, 10) == 9  # beta 2: 8.8
    assert filtered_steps(tokens, turned, 0) == 0
