"""Whatever fails, on whichever way into the guard: no image leaves that was not judged, and the page says what comes.

``python -m tests.faults`` writes the page anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.faults import Fault
from tests.faults.matrix import CELLS, cell
from tests.faults.on_ray import ON_RAY
from tests.faults.page import PAGE, cells_of, page_of
from tests.faults.ways import Way


@pytest.fixture(scope="module")
def said() -> str:
    return PAGE.read_text(encoding="utf-8")


def _parameter(fault: Fault, way: Way) -> Any:
    marks = [pytest.mark.slow] if way is ON_RAY else []  # a cluster each
    return pytest.param(fault, way, id=f"{fault.name}, {way.name.strip('`')}", marks=marks)


@pytest.mark.parametrize(("fault", "way"), [_parameter(fault, way) for fault, way in CELLS])
@pytest.mark.filterwarnings("ignore")
def test_a_cell_is_closed_and_does_what_the_page_says(fault: Fault, way: Way, said: str, tmp_path: Path) -> None:
    assert cell(fault, way, tmp_path) == cells_of(said)[fault.name, way.name]


def test_the_page_holds_these_cells_and_nothing_else(said: str) -> None:
    assert said == page_of(cells_of(said))
