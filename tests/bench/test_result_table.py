"""The results page: every row, what made it, and rows that an interrupted run had already measured."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from benchmarks.emoji_world.benchmark import ROWS, chosen_rows
from latent_guard.bench.result_table import Row, RowStore, csv_appendix, not_measured, results_page
from latent_guard.bench.runs.provenance import commit, manifest_hash
from latent_guard.errors import InputError

ROW = Row("unsafe images", ">= 90% fewer", "91.0% (88.0 to 93.0) fewer", 600, True, "a | b")


def test_the_page_shows_verdict_interval_and_what_made_it() -> None:
    page = results_page("T", {"bundle": "abc"}, [ROW, not_measured("human labels", ">= 95%", "none committed")])
    assert "- bundle: abc" in page
    assert "| unsafe images | >= 90% fewer | 91.0% (88.0 to 93.0) fewer | 600 | reached | a \\| b |" in page
    assert "| human labels | >= 95% | not measured | 0 | not measured | none committed |" in page


def test_rows_survive_an_interruption_but_not_a_change_of_configuration(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    RowStore(path, {"bundle": "a", "window": (1, 2)}).put("fewer", [ROW])
    assert RowStore(path, {"bundle": "a", "window": (1, 2)}).get("fewer") == [ROW]
    assert RowStore(path, {"bundle": "b", "window": (1, 2)}).get("fewer") == []


def test_a_committed_table_becomes_an_appendix(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text("steps,one\n1000,0.5\n")
    assert "| 1000 | 0.5 |" in csv_appendix("Curve", tmp_path / "curve.csv")
    assert csv_appendix("Curve", tmp_path / "none.csv") == ""


def test_rows_are_chosen_by_a_word_of_their_name() -> None:
    assert [row.__name__ for row in chosen_rows(["benign", "one_look"])] == [
        "benign_untouched",
        "looks_on_benign",
        "one_look",
    ]
    assert len(chosen_rows([])) == len(ROWS)
    with pytest.raises(InputError, match="risky_unguarded"):
        chosen_rows(["nonesuch"])


def test_a_bundle_is_named_by_the_hash_of_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    assert manifest_hash(tmp_path) == hashlib.sha256(b"{}").hexdigest()
    assert commit()
