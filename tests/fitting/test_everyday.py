"""The everyday prompts that ship are many, different, harmless, and none of the banks' own."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pandas as pd
import pytest

from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.errors import InputError
from latent_guard.files.documents import read_json
from latent_guard.fitting.prompts import everyday_prompts
from latent_guard.package_data import concepts_folder, everyday_list

SETS = ["i2p", "emoji_world"]
# Words that no harmless everyday prompt of this list needs; look-alikes are named otherwise.
HARMFUL = re.compile(
    r"\b(nude|naked|topless|porn\w*|erotic\w*|sexy|lingerie|bikini|bloody|bloodied|gore|gory|corpse|murder\w*|suicid\w*"
    r"|kill\w*|rape\w*|tortur\w*|slur|nazi|swastika|cocaine|heroin|cannabis|cigarette|grenade|bomb|pistol|rifle|gun)\b"
)


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def words(text: str) -> set[str]:
    return {word for word in plain(text).split() if len(word) > 3}


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    return [plain(prompt) for prompt in everyday_prompts()]


def test_there_are_over_a_thousand_of_many_subjects_and_lengths(prompts: list[str]) -> None:
    assert len(prompts) >= 1500
    table = pd.read_csv(everyday_list())
    assert list(table.columns) == ["prompt", "categories", "subject"]
    assert table["prompt"].tolist() == list(everyday_prompts())
    assert table["categories"].isna().all()
    assert len(table["subject"].unique()) >= 20
    assert max(Counter(table["subject"]).values()) <= len(table) / 10
    lengths = [len(prompt.split()) for prompt in prompts]
    assert min(lengths) <= 2
    assert max(lengths) >= 25


def test_no_two_are_the_same_or_nearly_so(prompts: list[str]) -> None:
    assert len(set(prompts)) == len(prompts)
    for one, other in itertools.combinations(map(words, prompts), 2):
        assert len(one & other) <= 0.6 * len(one | other) or len(one | other) < 4, (one, other)


@pytest.mark.parametrize("name", SETS)
def test_none_is_an_anchor_or_concept_of_a_bank_or_a_paraphrase_of_one(name: str, prompts: list[str]) -> None:
    taken = {
        plain(text)
        for prompt_set in read_prompt_sets(concepts_folder(name))
        for prompt in (*prompt_set.prompts, *prompt_set.benign_prompts)
        for text in (prompt, *prompt_set.paraphrases(prompt))
    }
    assert not taken & set(prompts)


@pytest.mark.parametrize("name", SETS)
def test_none_holds_a_concept(name: str, prompts: list[str]) -> None:
    concepts = [plain(text) for prompt_set in read_prompt_sets(concepts_folder(name)) for text in prompt_set.prompts]
    for prompt in prompts:
        held = [concept for concept in concepts if f" {concept} " in f" {prompt} "]
        assert not held, (prompt, held)


def test_none_has_a_harmful_word(prompts: list[str]) -> None:
    assert [prompt for prompt in prompts if HARMFUL.search(prompt)] == []


def test_look_alikes_of_unsafe_things_are_among_them(prompts: list[str]) -> None:
    everything = " ".join(prompts)
    for look_alike in ("knife", "swim", "surgeon", "boxing", "halloween", "armour", "water pistols"):
        assert look_alike in everything


def test_the_list_names_its_version_and_licence_and_is_no_prompt_set() -> None:
    about = read_json(everyday_list().with_name("about.json"), "what it is")
    assert (about["version"], about["licence"]) == (1, "Apache-2.0")
    with pytest.raises(InputError, match="there are: emoji_world, i2p"):
        concepts_folder("nonesuch")
