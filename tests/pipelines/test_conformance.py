"""Every pipeline class that the guard knows passes every proof of conformance, as a user's own does in `doctor`."""

from __future__ import annotations

import pytest

from latent_guard.conformance import check_conformance
from latent_guard.pipelines.family_table import KNOWN
from tests.pipelines.families.table import (
    PAGE,
    README,
    listed,
    one_of_each_row_first,
    page_with_table,
    readme_with_table,
)
from tests.pipelines.families.tiny import Tiny

FAMILIES = listed("FAMILIES")


def test_every_known_class_is_here() -> None:
    assert {tiny.name.split("-")[0] for tiny in FAMILIES} == set(KNOWN)


def test_the_page_has_the_table_of_all_of_them() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page_with_table(text) == text, "write it with `python -m tests.pipelines.families.table`"


def test_the_readme_has_its_table_of_them() -> None:
    text = README.read_text(encoding="utf-8")
    assert readme_with_table(text) == text, "write it with `python -m tests.pipelines.families.table`"


@pytest.mark.parametrize("tiny", one_of_each_row_first(FAMILIES))
def test_conformance(tiny: Tiny) -> None:
    failed = [proof for proof in check_conformance(tiny.pipeline(), tiny.call) if not proof.holds]
    assert not failed
