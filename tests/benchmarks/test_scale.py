from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not (ROOT / "benchmarks" / "scale").is_dir(), reason="it lies in the repository only")
def test_the_tables_of_the_page_are_those_of_what_was_measured_last() -> None:
    from benchmarks.scale.__main__ import parts_in
    from benchmarks.scale.demand import tables

    assert tables(parts_in()) in (ROOT / "docs" / "scale.md").read_text()
