from __future__ import annotations

import csv
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from latent_guard.concepts.prompt_set import PromptSet, read_prompt_sets
from latent_guard.concepts.sources import prompt_sets_of
from latent_guard.errors import InputError
from latent_guard.package_data import concepts_folder

I2P = ("harassment", "hate", "illegal activity", "self-harm", "sexual", "shocking", "violence")
ROWS: list[dict[str, Any]] = [
    {"prompt": "a knife attack", "categories": "violence, shocking"},
    {"prompt": "a pistol", "categories": "violence"},
    {"prompt": "a pistol", "categories": "violence"},
    {"prompt": " ", "categories": "violence"},
    {"prompt": "a kitchen knife on a cutting board", "categories": ""},
]
SMALL_WORDS = set(re.findall(r"\w+", "a an the of on in at to with for from and one own by its his her under over who"))
MAX_ALIKE = 0.5


def alike(first: str, second: str) -> float:
    """Share of content words that two prompts have in common."""
    a, b = (set(re.findall(r"[a-z]+", text.lower())) - SMALL_WORDS for text in (first, second))
    return len(a & b) / len(a | b)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> str:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def i2p() -> list[PromptSet]:
    return read_prompt_sets(concepts_folder("i2p"))


def test_the_seven_categories_of_i2p_ship_with_prompts_and_benign_counterparts() -> None:
    assert tuple(prompt_set.category for prompt_set in i2p()) == I2P
    for prompt_set in i2p():
        assert len(prompt_set.prompts) >= 30
        assert len(prompt_set.benign_prompts) >= 15
        assert (prompt_set.version, prompt_set.licence) == (1, "Apache-2.0")


def test_no_two_shipped_prompts_are_near_duplicates() -> None:
    everything = [prompt for s in i2p() for prompt in (*s.prompts, *s.benign_prompts)]
    assert len({prompt.lower() for prompt in everything}) == len(everything)
    for prompt_set in i2p():
        pairs = itertools.combinations(prompt_set.prompts, 2)
        benign = itertools.combinations(prompt_set.benign_prompts, 2)
        across = itertools.product(prompt_set.prompts, prompt_set.benign_prompts)
        for first, second in (*pairs, *benign, *across):
            assert alike(first, second) <= MAX_ALIKE, (first, second)
    for (_, first), (_, second) in itertools.combinations([(s.name, p) for s in i2p() for p in s.prompts], 2):
        assert alike(first, second) <= 0.75, (first, second)


def test_a_csv_file_in_i2ps_schema_is_a_prompt_set_a_category(tmp_path: Path) -> None:
    violence, shocking = prompt_sets_of(write_csv(tmp_path / "prompts.csv", ROWS))
    assert (violence.category, violence.prompts) == ("violence", ("a knife attack", "a pistol"))
    assert (shocking.category, shocking.prompts) == ("shocking", ("a knife attack",))
    assert violence.benign_prompts == ("a kitchen knife on a cutting board",)
    assert violence.paraphrases("a pistol") == ["a pistol"]


def test_a_data_set_of_the_hub_is_read_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    asked = []

    def load(name: str, split: str) -> datasets.Dataset:
        asked.append((name, split))
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load)
    found = prompt_sets_of("someone/prompts")
    assert asked == [("someone/prompts", "train")]
    assert [(s.category, s.prompts, s.benign_prompts) for s in found] == [
        (s.category, s.prompts, s.benign_prompts) for s in prompt_sets_of(write_csv(tmp_path / "prompts.csv", ROWS))
    ]


def test_a_data_set_that_cannot_be_loaded_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def fail(name: str, split: str) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(InputError, match=r"someone/prompts: .* cannot be reached"):
        prompt_sets_of("someone/prompts")


def test_files_folders_and_shipped_names_are_all_sources(tmp_path: Path) -> None:
    assert [s.category for s in prompt_sets_of("i2p")] == list(I2P)
    assert prompt_sets_of(str(concepts_folder("i2p"))) == prompt_sets_of("i2p")
    one = concepts_folder("i2p") / "hate.yaml"
    assert prompt_sets_of(str(one)) == [PromptSet.read(one)]


@pytest.mark.parametrize(
    ("name", "rows", "named"),
    [
        ("absent.csv", None, "absent.csv"),
        ("plain.csv", [{"text": "a", "categories": "b"}], "no column prompt"),
        ("plain.csv", [{"prompt": "a", "label": "b"}], "categories or category"),
        ("plain.csv", [{"prompt": "a", "categories": ""}], "no prompt of any category"),
        ("absent", None, "does not ship"),
        ("notes.txt", [{"prompt": "a"}], "notes.txt"),
    ],
)
def test_a_source_without_concepts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, rows: list[dict[str, Any]] | None, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if rows:
        write_csv(tmp_path / name, rows)
    with pytest.raises(InputError, match=re.escape(named)):
        prompt_sets_of(name)


def test_shipped_files_hold_plain_text_only() -> None:
    for path in concepts_folder("i2p").glob("*.yaml"):
        assert all(isinstance(entry, str) for entry in yaml.safe_load(path.read_text())["prompts"])
        assert max(map(len, path.read_text().splitlines())) <= 120
