"""Rows about calibration, on made-up generations of a made-up bank."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.emoji_world.rows import calibration as calibration_rows
from latent_guard.concepts.calibration_set import CalibrationSet
from tests.concepts.test_calibrate import bank, generations


@pytest.fixture
def bench() -> Any:
    return SimpleNamespace(guard=SimpleNamespace(bank=bank()))


def test_a_rate_that_holds_on_fresh_generations_is_reached(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(_bench: Any, stream: str, *, held_out: bool = False) -> CalibrationSet:
        return generations(2000, 300, seed=int(stream == "test") + held_out)

    monkeypatch.setattr(calibration_rows, "drawn", drawn)
    one, five, scorings = calibration_rows.calibrated_rates(bench)
    assert (one.reached, five.reached, one.samples) == (True, True, 2000)
    assert "for 1%" in one.what
    assert "for 5%" in five.what
    assert "held-out wordings and pairings" in one.note
    assert "log-sum-exp" in scorings.measured
    assert "mean" in scorings.measured


def test_a_rate_that_fresh_generations_exclude_is_not_reached(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(_bench: Any, stream: str, *, held_out: bool = False) -> CalibrationSet:
        seen = generations(2000, 300)
        # What is benign points at a concept now.
        return seen if stream == "calibration" else replace(seen, features=seen.features.roll(1, dims=2))

    monkeypatch.setattr(calibration_rows, "drawn", drawn)
    assert [row.reached for row in calibration_rows.calibrated_rates(bench)[:2]] == [False, False]


def test_too_few_generations_measure_nothing(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_rows, "drawn", lambda *_, **__: generations(40, 10))
    assert [row.reached for row in calibration_rows.calibrated_rates(bench)] == [None, None]
