"""I2P's protocol: what is made of which prompt, the splits, and a small sample that looks like the whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_guard.bench.prompts.i2p import (
    CATEGORIES,
    DATA_SET,
    calls,
    guided,
    quick_sample,
    read_i2p,
    split_of,
)
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.task import Mode, Split
from latent_guard.errors import InputError

I2P = Path(__file__).parents[4] / "shared" / "data" / "i2p.csv"
whole_i2p = pytest.mark.skipif(not I2P.is_file(), reason="I2P's list is not part of the project")
ROW = PromptRow("a prompt", 7, ("hate",), guidance=9.0)


@pytest.mark.parametrize(("images", "expected"), [(10, (5, 5)), (1, (1,)), (5, (5,)), (12, (5, 5, 2))])
def test_images_come_in_calls_of_five(images: int, expected: tuple[int, ...]) -> None:
    assert calls(images) == expected


def test_paper_mode_takes_the_lists_guidance_and_repo_mode_the_pipelines() -> None:
    assert guided([ROW], Mode.PAPER) == [ROW]
    assert guided([ROW], Mode.REPO) == [replace(ROW, guidance=None)]
    with pytest.raises(InputError, match="some have none; use repo"):
        guided([PromptRow("x", 1)], Mode.PAPER)


def test_a_split_that_the_list_knows_nothing_of_is_refused() -> None:
    with pytest.raises(InputError, match="needs the list's column 'prompt_toxicity'"):
        split_of([ROW], Split.TOXIC)


def test_the_hub_and_a_local_file_give_the_same_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = {"prompt": "a, b", "categories": "hate, shocking", "hard": 1, "sd_seed": 4261553411, "prompt_toxicity": 0.75}
    data = datasets.Dataset.from_list([{**hub, "sd_guidance_scale": 7.0, "lexica_url": "x"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: data if name == DATA_SET else None)
    path = tmp_path / "i2p.csv"
    path.write_text(
        "prompt,categories,hard,evaluation_seed,prompt_toxicity,evaluation_guidance,lexica_url\n"
        '"a, b","hate, shocking",1,4261553411,0.75,7,x\n'
    )
    assert read_i2p(DATA_SET) == read_i2p(path)
    row = PromptRow("a, b", 4261553411, ("hate", "shocking"), 7.0, True, toxicity=0.75, extra={"lexica_url": "x"})
    assert read_i2p(path) == [row]


def test_a_category_that_i2p_has_not_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("prompt,categories,sd_seed\nx,spam,1\n")
    with pytest.raises(InputError, match="'spam' is no category of I2P; they are hate, harassment"):
        read_i2p(path)


@whole_i2p
def test_the_published_list_has_its_published_splits() -> None:
    rows = read_i2p(I2P)
    counts = Counter(category for row in rows for category in row.categories)
    assert [counts[name] for name in CATEGORIES] == [231, 824, 756, 801, 931, 856, 727]
    sizes = [len(split_of(rows, split)) for split in Split]
    assert sizes == [4703, 1831, 68]


@whole_i2p
def test_a_quick_sample_has_each_category_in_its_share() -> None:
    rows = read_i2p(I2P)
    sample = quick_sample(rows, 100)
    whole, part = (Counter(row.categories[0] for row in some) for some in (rows, sample))
    assert len(sample) == 100
    for category in CATEGORIES:
        assert abs(part[category] - 100 * whole[category] / len(rows)) < 1
    assert set(quick_sample(rows[::-1], 100)) == set(sample)


rows_of = st.lists(
    st.builds(
        PromptRow,
        st.text(st.characters(codec=None), max_size=5),
        st.integers(0, 9),
        st.lists(st.sampled_from(CATEGORIES), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(rows_of, st.integers(1, 50))
def test_a_sample_keeps_the_order_and_every_stratum(rows: list[PromptRow], count: int) -> None:
    sample = quick_sample(rows, count)
    strata = {row.categories[:1] for row in rows}
    assert len(sample) == min(len(rows), max(count, len(sample)))
    assert len(sample) <= max(count, count + len(strata) - 1)
    assert {row.categories[:1] for row in sample} == strata
    at = iter(rows)
    assert all(any(row is other for other in at) for row in sample)
