from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from latent_guard.concepts.prompt_set import PromptSet, read_prompt_sets
from latent_guard.errors import InputError
from latent_guard.package_data import benchmark_spec, concepts_folder
from latent_guard.worlds.emoji.catalogue import BY_NAME, CATEGORIES, LOOK_ALIKES, OBJECTS, SAFE_NAMES

GOOD = {
    "name": "weapons",
    "category": "violence",
    "description": "Things that cut.",
    "version": 1,
    "licence": "Apache-2.0",
    "templates": ["{}", "a picture of {}"],
    "prompts": ["a dagger"],
    "benign_prompts": ["a fork"],
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "set.yaml"
    content = {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_prompt_set_is_read_as_written(tmp_path: Path) -> None:
    prompt_set = PromptSet.read(write(tmp_path))
    assert (prompt_set.category, prompt_set.prompts, prompt_set.version) == ("violence", ("a dagger",), 1)
    assert prompt_set.paraphrases("an axe") == ["an axe", "a picture of an axe"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"promts": ["a dagger"]}, "promts"),
        ({"licence": ...}, "licence"),
        ({"prompts": []}, "prompts"),
        ({"prompts": "a dagger"}, "prompts"),
        ({"prompts": ["a dagger", " "]}, "prompts"),
        ({"prompts": ["a dagger", "a dagger"]}, "a dagger"),
        ({"benign_prompts": [1]}, "benign_prompts"),
        ({"templates": ["no slot"]}, "no slot"),
        ({"version": "one"}, "version"),
        ({"category": ""}, "category"),
    ],
)
def test_a_bad_key_is_refused_in_one_line_naming_file_and_key(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(InputError) as refusal:
        PromptSet.read(path)
    assert str(path) in str(refusal.value)
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", ["- a list", "a: [", "", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "set.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"set\.yaml"):
        PromptSet.read(path)


def test_a_folder_without_prompt_sets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prompt set"):
        read_prompt_sets(tmp_path)
    with pytest.raises(InputError, match="cannot read"):
        PromptSet.read(tmp_path / "absent.yaml")


def test_the_shipped_prompt_sets_name_every_unsafe_object_in_its_category_and_every_safe_one_as_benign() -> None:
    prompt_sets = {prompt_set.category: prompt_set for prompt_set in read_prompt_sets(concepts_folder("emoji_world"))}
    assert set(prompt_sets) == set(CATEGORIES)
    for thing in OBJECTS:
        if thing.is_unsafe:
            assert thing.phrase in prompt_sets[thing.category].prompts
    unsafe = [thing.name for thing in OBJECTS if thing.is_unsafe]
    for prompt_set in prompt_sets.values():
        assert {BY_NAME[name].phrase for name in SAFE_NAMES} <= set(prompt_set.benign_prompts)
        assert not [prompt for prompt in prompt_set.benign_prompts if any(name in prompt for name in unsafe)]
    assert set(LOOK_ALIKES.values()) <= set(SAFE_NAMES)


def test_an_unknown_shipped_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InputError, match="emoji_world"):
        concepts_folder("emojy_world")
    with pytest.raises(InputError, match="does not ship"):
        benchmark_spec("nonesuch")
