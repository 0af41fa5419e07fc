"""Comparisons: pairs by prompt and seed, exact tests, and the correction for how many were made."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_guard.bench.metrics.significance import (
    FLIPS,
    Comparison,
    Outcomes,
    compare,
    corrected,
    holm,
    mcnemar,
    paired,
    sign_flips,
)
from latent_guard.errors import InputError


def outcomes(method: str, values: object, prompts: object = None, seeds: object = None) -> Outcomes:
    array = np.asarray(values)
    index = np.arange(len(array)) if prompts is None else np.asarray(prompts)
    return Outcomes(method, index, np.zeros(len(array), dtype=np.int64) if seeds is None else np.asarray(seeds), array)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (5, 0), (1, 9), (6, 6), (12, 3)])
def test_mcnemar_is_the_binomial_tail_of_the_pairs_that_disagree(only_first: int, only_second: int) -> None:
    first = [True] * only_first + [False] * only_second + [True, False] * 10
    second = [False] * only_first + [True] * only_second + [True, False] * 10
    count, least = only_first + only_second, min(only_first, only_second)
    tail = sum(comb(count, k) for k in range(least + 1)) / 2**count
    assert mcnemar(first, second) == pytest.approx(min(1.0, 2 * tail))


def test_holm_counts_the_smallest_for_all_the_next_for_one_less_and_never_goes_back() -> None:
    # In order: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, which may not be less than the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_only_raises_p_values_keeps_their_order_and_ends_at_one(values: list[float]) -> None:
    adjusted = holm(values)
    assert (adjusted >= np.array(values)).all()
    assert (adjusted <= 1).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


def test_sign_flips_come_to_the_share_of_all_flips_that_are_as_extreme() -> None:
    values = np.array([1.0, 2.0, 3.0, 0.5, 1.5])
    flips = [abs(np.dot(signs, values)) >= values.sum() for signs in product([-1, 1], repeat=5)]
    assert sign_flips(values, np.arange(5)) == pytest.approx(np.mean(flips), abs=0.01)


def test_images_of_one_prompt_are_flipped_together() -> None:
    assert sign_flips(np.ones(100), np.zeros(100)) == pytest.approx(1.0)
    assert sign_flips(np.ones(100), np.arange(100)) == pytest.approx(1 / (1 + FLIPS))


def test_a_clear_difference_stands_however_many_are_made() -> None:
    clear, among = np.ones(60), 2000
    p_value = sign_flips(clear, np.arange(60), among)
    assert among * p_value < 0.05
    assert sign_flips(np.tile([1.0, -1.0], 30), np.arange(60), among) > 0.5
    first, second = outcomes("a", clear), outcomes("b", np.zeros(60))
    assert compare("clip_score", [(first, second)], among)[0].p_value == p_value


def test_images_are_paired_by_prompt_and_seed_in_any_order() -> None:
    first = outcomes("a", [1.0, 2.0, 3.0, np.nan], prompts=[1, 1, 2, 3], seeds=[10, 11, 10, 10])
    second = outcomes("b", [0.0, 5.0, 7.0, 1.0], prompts=[3, 2, 1, 9], seeds=[10, 10, 11, 10])
    own, other = paired(first, second)
    assert list(zip(own.tolist(), other.tolist(), strict=True)) == [(1, 2), (2, 1)]


def test_a_difference_stands_if_it_is_clear_of_zero_and_survives_the_correction() -> None:
    rng = np.random.default_rng(0)
    noise = rng.random(80)
    worse, same = outcomes("worse", rng.random(80) < 0.6), outcomes("same", noise < 0.1)
    good = outcomes("good", noise < 0.08)
    found = compare("unsafe", [(good, worse), (good, same)])
    assert [one.significant for one in found] == [True, False]
    assert found[0].test == "McNemar"
    assert found[0].difference.value == pytest.approx(good.values.mean() - worse.values.mean())
    assert found[0].corrected == pytest.approx(2 * found[0].p_value)


def test_a_difference_that_stands_alone_can_fall_among_many() -> None:
    first, second = outcomes("a", [False] * 20), outcomes("b", [True] * 6 + [False] * 14)
    (alone,) = compare("unsafe", [(first, second)])
    among = corrected([alone, *[_nothing()] * 9])
    assert alone.significant
    assert not among[0].significant


def test_flags_of_several_images_a_prompt_and_numbers_are_tested_by_prompt() -> None:
    seeds = np.tile([0, 1], 10)
    prompts = np.repeat(np.arange(10), 2)
    flags = [outcomes(name, np.arange(20) % k == 0, prompts, seeds) for name, k in (("a", 2), ("b", 3))]
    numbers = [outcomes(name, np.arange(20) + shift) for name, shift in (("a", 0.5), ("b", 0.0))]
    assert compare("unsafe", [(flags[0], flags[1])])[0].test == "sign flips"
    assert compare("clip score", [(numbers[0], numbers[1])])[0].difference.value == pytest.approx(0.5)


def test_methods_without_a_common_image_or_with_one_twice_are_refused() -> None:
    with pytest.raises(InputError, match="a and b have no image of the same prompt and seed"):
        compare("unsafe", [(outcomes("a", [True], [1]), outcomes("b", [True], [2]))])
    with pytest.raises(InputError, match="two images of one prompt and seed"):
        compare("unsafe", [(outcomes("a", [True, True], [1, 1]), outcomes("b", [True], [1]))])


def _nothing() -> Comparison:
    first = outcomes("c", [True, False] * 10)
    return compare("unsafe", [(first, first)])[0]
