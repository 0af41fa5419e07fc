from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_harness_measures_its_own_share_of_a_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (BENCHMARKS / "harness.py").exists():
        pytest.skip("the benchmarks lie beside the package in its repository only")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    importlib.import_module("harness").main(["--images", "4", "--runs", "1", "--out", str(tmp_path)])
    record = json.loads((tmp_path / "harness.json").read_text())
    seconds = record["runs"][0]
    assert (record["images"], len(record["runs"])) == (4, 1)
    assert record["grader"] == "emoji-grader"
    assert min(seconds.values()) > 0
    assert record["median"] == pytest.approx(1 - seconds["pipeline"] / sum(seconds.values()))
    assert "4 images); aim 3%: missed" in capsys.readouterr().out
