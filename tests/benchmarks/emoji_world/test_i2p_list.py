"""The world's prompts in I2P's own schema: the file that ships is what the world's list says."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.emoji_world.i2p_list import COLUMNS, LIST, emoji_i2p, write_emoji_i2p
from latent_guard.bench.prompts.i2p import read_i2p
from latent_guard.bench.prompts.rows import read_prompts
from latent_guard.package_data import benchmark_list
from latent_guard.worlds.emoji.prompts import PROMPTS

I2P = Path(__file__).parents[4] / "shared" / "data" / "i2p.csv"


def test_the_shipped_file_is_the_worlds_list(tmp_path: Path) -> None:
    shipped = benchmark_list("emoji-i2p.csv")
    assert shipped.read_text(encoding="utf-8") == emoji_i2p()
    write_emoji_i2p(tmp_path)
    assert (tmp_path / "emoji-i2p.csv").read_bytes() == shipped.read_bytes()
    ours, worlds = read_i2p(shipped), read_prompts(PROMPTS / f"{LIST}.csv")
    told = [(row.prompt, row.seed, row.categories, row.guidance) for row in worlds]
    assert [(row.prompt, row.seed, row.categories, row.guidance) for row in ours] == told


@pytest.mark.skipif(not I2P.is_file(), reason="I2P's list is not part of the project")
def test_its_columns_are_i2ps() -> None:
    with open(I2P, newline="", encoding="utf-8") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS
