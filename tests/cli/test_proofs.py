"""``python -m latent_guard.testing``: proofs on a user's own pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from latent_guard.concepts.bank import ConceptBank
from latent_guard.testing import scale
from latent_guard.testing.__main__ import app
from tests.cli.conftest import Finished


@pytest.fixture
def scaled(latent_guard_command: Callable[..., Finished], tiny_bundle: Path, tmp_path: Path) -> Callable[..., Finished]:
    bank = ConceptBank.load(tiny_bundle / "bank")
    bank.with_thresholds(torch.zeros(1), torch.full((1, 1), -1e3)).save(tmp_path / "bank")
    command = ("scale", "--model", tiny_bundle / "pipeline", "--bank", tmp_path / "bank", "--steps", "2")
    return lambda *more: latent_guard_command(*command, *more, app=app)


def test_it_holds_of_a_guard_and_says_so_for_each_factor(scaled: Callable[..., Finished]) -> None:
    done = scaled("--prompt", "a dagger", "--prompt", "a fork")
    assert done.code == 0, done.err
    for factor in ("0.13", "7.677", "40"):
        (row,) = (line for line in done.out.splitlines() if f" {factor} " in line)
        assert "holds" in row
        assert " 2 " in row
    assert scaled().code == 0, "the bank's own words are prompts"


def test_exit_code_1_says_that_it_differs(scaled: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "MAX_DIFFERENCE", -1.0)
    done = scaled()
    assert done.code == 1
    assert done.out.count("differs") == 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--policy", "flag"), "acted on none of these 1 images"),
        (("--prompt", " "), "the prompt is empty"),
        (("--policy", "mild"), "unknown policy"),
        (("--model", "nowhere/at/all"), "neither a folder nor a hub id"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    scaled: Callable[..., Finished], more: tuple[str, ...], said: str
) -> None:
    done = scaled(*more)
    assert done.code == 2
    (line,) = (line for line in done.err.splitlines() if line.startswith("error: "))
    assert said in line
