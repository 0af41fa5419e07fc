"""Prompts of a fit: the concepts in scenes, and lists of a user's own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from latent_guard.concepts.prompt_set import PromptSet, read_prompt_sets
from latent_guard.errors import InputError
from latent_guard.fitting.prompts import (
    ANY_CATEGORY,
    FitPrompts,
    UnsafePrompt,
    everyday_prompts,
    fit_prompts,
    read_benign,
    read_unsafe,
    unsafe_prompts,
)
from latent_guard.package_data import concepts_folder

WEAPONS = PromptSet("weapons", "violence", "a", 1, "MIT", ("{}", "a photo of {}"), ("a dagger", "a bomb"), ("a fork",))
CATEGORIES = ("violence", "hate")


def listed(folder: Path, text: str | bytes) -> Path:
    path = folder / "mine.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("name", ["i2p", "emoji_world"])
def test_concepts_that_ship_make_hundreds_of_different_prompts_a_category(name: str) -> None:
    sets = read_prompt_sets(concepts_folder(name))
    made = unsafe_prompts(sets, 400)
    assert made == unsafe_prompts(sets, 400)
    assert Counter(row.category for row in made) == {one.category: 400 for one in sets}
    assert len({row.prompt for row in made}) == len(made)


def test_a_prompt_holds_a_concept_of_its_category_in_none_of_its_sets_own_templates() -> None:
    sets = {one.category: one for one in read_prompt_sets(concepts_folder("i2p"))}
    for row in unsafe_prompts(list(sets.values()), 200):
        own = sets[row.category]
        assert any(concept in row.prompt for concept in own.prompts)
        assert row.prompt not in {text for concept in own.prompts for text in own.paraphrases(concept)}


def test_prompts_are_spread_evenly_over_the_concepts_in_many_scenes() -> None:
    sets = read_prompt_sets(concepts_folder("i2p"))
    for one in sets:
        made = [row.prompt for row in unsafe_prompts([one], 3 * len(one.prompts))]
        for concept in one.prompts:
            assert sum(concept in prompt for prompt in made) >= 3
        assert len({prompt.rsplit(", ", 1)[1] for prompt in made}) >= 9


def test_a_small_set_makes_as_many_as_it_can() -> None:
    made = unsafe_prompts([WEAPONS], 1000)
    assert len(made) == 2 * 99 == len(set(made))


def test_a_scene_that_is_a_template_of_the_set_is_left_out() -> None:
    scene = unsafe_prompts([WEAPONS], 1)[0].prompt
    own = replace(WEAPONS, templates=(*WEAPONS.templates, scene.replace("a dagger", "{}")))
    assert len(unsafe_prompts([own], 1000)) == 2 * 99 - 2


def test_a_concept_of_two_categories_makes_no_prompt_twice() -> None:
    made = unsafe_prompts([WEAPONS, replace(WEAPONS, category="shocking")], 20)
    assert len({row.prompt for row in made}) == 40


def test_by_default_prompts_are_everyday_ones_and_scenes_of_the_concepts() -> None:
    prompts = fit_prompts([WEAPONS])
    assert prompts == FitPrompts(everyday_prompts(), unsafe_prompts([WEAPONS]))


def test_lists_of_ones_own_take_their_place(tmp_path: Path) -> None:
    benign, unsafe = tmp_path / "benign.csv", tmp_path / "unsafe.csv"
    benign.write_text('prompt,categories\na cat,\n"a  killer\ncake, baked",violence\na cat,\n" ",\n')
    unsafe.write_text("\ufeff,prompt,categories,hard\n0,a fight,violence,1\n1,a slur,\n2,a fight,hate\n3,a mob,hate\n")
    sets = [WEAPONS, replace(WEAPONS, category="hate", prompts=("a slur on a wall",))]
    prompts = fit_prompts(sets, benign, unsafe)
    assert prompts.benign == ("a cat", "a killer cake, baked")
    assert prompts.unsafe == (
        UnsafePrompt("a fight", "violence"),
        UnsafePrompt("a slur", ANY_CATEGORY),
        UnsafePrompt("a mob", "hate"),
    )


def test_a_list_of_prompts_alone_is_enough(tmp_path: Path) -> None:
    path = listed(tmp_path, "prompt\r\na cat\r\na dog\r\n")
    assert read_benign(path) == ("a cat", "a dog")
    assert {row.category for row in read_unsafe(path, CATEGORIES)} == {ANY_CATEGORY}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column 'prompt'; found none"),
        ("Prompt;categories\na cat;", "no column 'prompt'; found Prompt;categories"),
        ("prompt\n", "holds no prompts"),
        ('prompt\n" "\n', "holds no prompts"),
        ("prompt,categories\na cat, asleep, at noon\n", "line 2: more cells than the header has"),
        (f"prompt\na cat\n{'x' * 10_001}\n", "line 3: a prompt of 10,001 characters"),
        (f"prompt\n{'x' * 200_000}\n", "is not CSV after line 1"),
        (b"prompt\na caf\xe9\n", "it is not UTF-8"),
        ("prompt\na cat\0\n", "NUL"),
        ("prompt\na cat\n".encode("utf-16"), "it is not UTF-8"),
        ("prompt,categories\na fight,Violence\n", "line 2: no concept is of the category 'Violence'; there are: hate"),
    ],
)
def test_a_defect_of_a_list_is_one_line_that_names_it(tmp_path: Path, text: str | bytes, says: str) -> None:
    path = listed(tmp_path, text)
    with pytest.raises(InputError) as error:
        read_unsafe(path, CATEGORIES)
    assert says in str(error.value)
    assert "mine.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(InputError, match="cannot read the prompt list"):
            read_benign(path)


@pytest.mark.parametrize(
    ("benign", "unsafe", "says"),
    [
        ((), ("a fight",), "no benign ones"),
        (("a cat",), (), "no unsafe ones"),
        (("a cat", "a fight"), ("a fight",), "'a fight' is among the benign and among the unsafe"),
    ],
)
def test_prompts_of_one_kind_only_are_refused(benign: tuple[str, ...], unsafe: tuple[str, ...], says: str) -> None:
    with pytest.raises(InputError, match=says):
        FitPrompts(benign, tuple(UnsafePrompt(prompt, "violence") for prompt in unsafe))
