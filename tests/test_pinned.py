"""What a change that only moves or renames code must leave as it is: weights, files, pixels, specs and figures.

Where a value is meant to change, `python -m tests.pinned` records all of them anew.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.pinned import OF_THE_MACHINE, PINNED, RESULTS, SECTIONS, machine, measure


@pytest.fixture(scope="module")
def pinned() -> dict[str, Any]:
    return json.loads(PINNED.read_text())


def test_every_section_is_recorded(pinned: dict[str, Any]):
    assert list(pinned) == ["machine", *SECTIONS]


MINUTES = {"guarded_images", "training_steps", "report_figures"}  # together


@pytest.mark.parametrize(
    "section", [pytest.param(name, marks=pytest.mark.slow) if name in MINUTES else name for name in SECTIONS]
)
def test_it_is_as_it_was_recorded(section: str, pinned: dict[str, Any]):
    if section in OF_THE_MACHINE and machine() != pinned["machine"]:
        pytest.skip(f"recorded on {pinned['machine']}, where it holds to the last bit; this is {machine()}")
    if section == "report_figures" and not RESULTS.is_dir():
        pytest.skip("the runs that reports are made of lie in the repository alone")
    assert measure(section) == pinned[section]
