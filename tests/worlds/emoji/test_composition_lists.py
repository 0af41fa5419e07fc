"""The lists of compositions: committed as written, of safe objects, in templates that training never had."""

from __future__ import annotations

from pathlib import Path

import pytest

from latent_guard.bench.prompts.rows import read_prompts
from latent_guard.worlds.emoji import captions
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, SAFE_NAMES
from latent_guard.worlds.emoji.composition import (
    KINDS,
    LISTS,
    PROMPTS_A_KIND,
    TEMPLATES,
    composition_lists,
    write_composition_lists,
)

ROWS = {stem: read_prompts(LISTS / f"{stem}.csv") for stem in composition_lists()}


def test_committed_lists_are_what_the_code_writes(tmp_path: Path) -> None:
    write_composition_lists(tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in LISTS.glob("*.csv")}


def test_no_prompt_occurs_twice_in_any_list() -> None:
    prompts = [row.prompt for rows in ROWS.values() for row in rows]
    assert len(set(prompts)) == len(prompts) == 2 * len(KINDS) * PROMPTS_A_KIND


@pytest.mark.parametrize("stem", ROWS)
def test_rows_say_what_their_prompts_ask_for(stem: str) -> None:
    for row in ROWS[stem]:
        composition, background = row.extra["composition"], row.extra.get("background", "")
        objects = row.extra["objects"].split(", ")
        assert composition == stem.partition("_")[2]
        assert set(objects) <= set(SAFE_NAMES)
        places = [row.prompt.index(name) for name in objects]
        assert (places == sorted(places)) != (" right of " in row.prompt and len(places) == 2)
        assert (background in BACKGROUNDS) == (composition == "background")
        assert background in row.prompt
        assert len(objects) == 2 or composition in ("single_object", "background")


def test_no_template_is_one_of_training() -> None:
    trained = {*captions.ONE, *captions.TWO, captions.HELD_OUT_ONE, captions.HELD_OUT_TWO}
    assert not trained & {template for templates in TEMPLATES.values() for template in templates}
