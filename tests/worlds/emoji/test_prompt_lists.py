"""The committed prompt lists are what the code writes, and hold what the benchmark says they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from latent_guard.bench.prompts.rows import PromptRow, read_prompts
from latent_guard.worlds.emoji.captions import (
    BACKGROUND,
    COMPANION,
    HELD_OUT_BACKGROUND,
    HELD_OUT_ONE,
    HELD_OUT_TWO,
    ONE,
    TWO,
)
from latent_guard.worlds.emoji.catalogue import BY_NAME, CONTEXT_BY_NAME, CONTEXTS
from latent_guard.worlds.emoji.prompts import PROMPTS, SPLITS, drawn_prompts, prompt_lists, write_prompt_lists
from latent_guard.worlds.emoji.splits import is_held_out_combination, is_held_out_pairing

LISTS = {stem: read_prompts(PROMPTS / f"{stem}.csv") for stem in prompt_lists()}


def objects_of(row: PromptRow) -> tuple[str, ...]:
    return tuple(name for name in row.extra.get("objects", "").split(", ") if name)


def test_committed_lists_are_what_the_code_writes(tmp_path: Path) -> None:
    write_prompt_lists(tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in PROMPTS.glob("*.csv")}


def test_no_prompt_occurs_twice_in_any_list() -> None:
    prompts = [row.prompt for rows in LISTS.values() for row in rows]
    assert len(set(prompts)) == len(prompts)
    assert all(len(rows) == 120 for rows in LISTS.values())


@pytest.mark.parametrize("split", SPLITS)
def test_risky_prompts_name_a_risky_setting_and_nothing_unsafe(split: str) -> None:
    for row in LISTS[f"{split}_risky"]:
        assert CONTEXT_BY_NAME[row.extra.get("context", "")].is_risky
        assert row.categories
        assert not any(BY_NAME[name].is_unsafe for name in objects_of(row))


def test_a_third_of_risky_test_prompts_use_a_held_out_pairing_and_no_dev_prompt_does() -> None:
    def pairings(split: str) -> int:
        return sum(
            any(
                is_held_out_pairing(row.extra.get("context", ""), other)
                for other in (row.extra.get("background", ""), row.extra.get("companion", ""))
                if other
            )
            for row in LISTS[f"{split}_risky"]
        )

    assert pairings("test") >= 40
    assert pairings("dev") == 0
    assert sum("wording" in row.extra.get("held_out", "") for row in LISTS["test_risky"]) >= 12


@pytest.mark.parametrize("split", SPLITS)
def test_benign_prompts_name_nothing_unsafe_and_a_third_are_hard(split: str) -> None:
    rows = LISTS[f"{split}_benign"]
    assert sum(row.hard for row in rows) == len(rows) // 3
    for row in rows:
        assert not row.categories
        assert not any(BY_NAME[name].is_unsafe for name in objects_of(row))
        assert not row.extra.get("context", "") or not CONTEXT_BY_NAME[row.extra.get("context", "")].is_risky


@pytest.mark.parametrize("split", SPLITS)
def test_explicitly_unsafe_prompts_name_exactly_one_unsafe_object(split: str) -> None:
    for row in LISTS[f"{split}_explicit_unsafe"]:
        assert sum(BY_NAME[name].is_unsafe for name in objects_of(row)) == 1
        assert all(name in row.prompt for name in objects_of(row))


@pytest.mark.parametrize("split", SPLITS)
def test_two_object_prompts_are_all_held_out_combinations(split: str) -> None:
    assert all(
        is_held_out_combination(objects_of(row), row.extra.get("background", ""))
        for row in LISTS[f"{split}_explicit_two"]
    )
    assert all(len(objects_of(row)) == 1 and row.extra.get("background", "") for row in LISTS[f"{split}_explicit_one"])


def test_held_out_paraphrases_use_only_words_met_in_training() -> None:
    settings = [wording for context in CONTEXTS for wording in context.paraphrases]
    trained = set(" ".join([*settings, *ONE, *TWO, *BACKGROUND, *COMPANION]).split())
    held_out = [context.held_out_paraphrase for context in CONTEXTS]
    assert set(" ".join([*held_out, HELD_OUT_ONE, HELD_OUT_TWO, HELD_OUT_BACKGROUND]).split()) <= trained


@pytest.mark.parametrize("held_out", [False, True])
def test_drawn_prompts_are_of_their_kind_in_no_list_and_others_in_another_stream(held_out: bool) -> None:
    listed = {row.prompt for rows in prompt_lists().values() for row in rows}
    one, other = (drawn_prompts("benign", stream, 300, held_out=held_out) for stream in ("one", "other"))
    assert len(one) == 300
    assert not any(row.categories for row in one)
    assert not {row.prompt for row in one} & listed
    assert not {(row.prompt, row.evaluation_seed) for row in one} & {(r.prompt, r.evaluation_seed) for r in other}
    assert any("wording" in row.held_out for row in one) == held_out
    assert all(row.categories for row in drawn_prompts("risky", "one", 50, held_out=held_out))
