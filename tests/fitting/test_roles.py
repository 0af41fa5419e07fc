"""A prompt has one role, whatever else is asked for."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_guard.errors import InputError
from latent_guard.fitting.prompts import UnsafePrompt
from latent_guard.fitting.roles import Role, seeded, split

SHARES = {Role.TUNE: 5.0, Role.CALIBRATE: 2.0, Role.DEV: 1.0, Role.VERIFY: 2.0}
UNSAFE = st.builds(UnsafePrompt, st.text(max_size=3), st.sampled_from(["violence", "hate", "shocking"]))
PROMPTS = st.lists(st.text(max_size=3), min_size=4, unique=True) | st.lists(
    UNSAFE, min_size=4, unique_by=lambda row: row.prompt
)


@settings(deadline=None)
@given(PROMPTS, st.integers(0, 2**63), st.lists(st.floats(0.01, 100), min_size=4, max_size=4))
def test_each_prompt_has_one_role_and_no_role_goes_without(prompts: list[str], seed: int, shares: list[float]) -> None:
    dealt = split(prompts, seed, dict(zip(Role, shares, strict=True)))
    assert list(dealt) == list(Role)
    assert all(dealt.values())
    assert Counter(prompt for mine in dealt.values() for prompt in mine) == Counter(prompts)


@settings(deadline=None)
@given(PROMPTS, st.integers(0, 2**63), st.randoms())
def test_roles_depend_on_words_and_seed_alone(prompts: list[str], seed: int, random: st.DataObject) -> None:
    shuffled = list(prompts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert split(shuffled, seed, SHARES) == split(prompts, seed, SHARES)


@settings(deadline=None)
@given(st.integers(100, 600), st.integers(0, 99))
def test_sizes_are_as_asked(count: int, seed: int) -> None:
    dealt = split([f"prompt {number}" for number in range(count)], seed, SHARES)
    for role, share in SHARES.items():
        assert abs(len(dealt[role]) - count * share / 10) <= 2


def test_each_category_has_its_share_of_every_role_and_takes_its_turn() -> None:
    rows = [UnsafePrompt(f"{category} {number}", category) for category in ("hate", "violence") for number in range(60)]
    dealt = split(rows, 0, SHARES)
    for role, share in SHARES.items():
        for count in Counter(row.category for row in dealt[role]).values():
            assert abs(count - 60 * share / 10) <= 2
        assert {row.category for row in dealt[role][:2]} == {"hate", "violence"}


def test_another_seed_deals_otherwise() -> None:
    prompts = [f"prompt {number}" for number in range(40)]
    assert split(prompts, 0, SHARES) != split(prompts, 1, SHARES)


def test_a_text_in_two_categories_has_one_role_in_the_first() -> None:
    rows = [UnsafePrompt(text, "hate") for text in "abcd"] + [UnsafePrompt("a", "violence")]
    assert sorted(row.prompt for mine in split(rows, 0, SHARES).values() for row in mine) == list("abcd")
    assert {row.category for mine in split(rows, 0, SHARES).values() for row in mine} == {"hate"}


def test_fewer_prompts_than_roles_are_refused() -> None:
    with pytest.raises(InputError, match="3 different prompts cannot have 4 roles"):
        split(["a", "b", "c", "c"], 0, SHARES)
    with pytest.raises(InputError, match="the share of dev"):
        split(list("abcd"), 0, {**SHARES, Role.DEV: 0.0})


@settings(deadline=None)
@given(st.lists(st.text(max_size=3), min_size=1, unique=True), st.integers(0, 300), st.integers(0, 2**63))
def test_images_have_a_seed_each_and_more_of_them_begin_with_the_same(
    prompts: list[str], count: int, seed: int
) -> None:
    images = seeded(prompts, count, seed)
    assert len(images) == len(set(images)) == count
    assert images == seeded(prompts, count + 7, seed)[:count]
    assert all(0 <= number < 2**32 for _, number in images)
    often = Counter(prompt for prompt, _ in images)
    assert not often or max(often.values()) - min(often.values(), default=0) <= 1
