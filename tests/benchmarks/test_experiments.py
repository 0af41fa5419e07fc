"""The experiments of benchmarks/ that train, in miniature: they run, and leave what they measured."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adapter", "sizes", "from_pixels"])
def test_an_experiment_runs_and_goes_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    experiment = importlib.import_module(name)
    arguments = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), "--miniature"]
    found = []
    for _ in range(2):
        experiment.main(arguments)
        found.append(json.loads((tmp_path / "out" / f"{name}.json").read_text()))
    assert found[0].keys() == found[1].keys()
    assert found[0]["made_by"]["package"].startswith("latent-guard")
