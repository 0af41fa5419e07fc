from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_benchmark_of_the_loader_gathers_the_stand_ins_that_it_wrote(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not (BENCHMARKS / "loader.py").exists():
        pytest.skip("the benchmarks lie beside the package in its repository only")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    loader = importlib.import_module("loader")
    loader.write_stand_ins(tmp_path / "shards", samples=8)
    measured = loader.measure(tmp_path / "shards", seconds=0.0, cores=1)
    assert measured.samples == 8
    assert measured.median > 0
