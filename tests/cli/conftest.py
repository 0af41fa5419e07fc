"""A pipeline and a guard small enough to make on the spot, and the command line as a user meets it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from latent_guard.cli import main
from latent_guard.latent_clip.tokenizer import trimmed_clip_tokenizer
from latent_guard.testing import tiny_pipeline, write_bundle
from tests.cli.picture_sources import Reading


@dataclass(frozen=True)
class Finished:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


@pytest.fixture
def latent_guard_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Finished]:
    def run(*arguments: str | Path, app: Any = None) -> Finished:
        monkeypatch.setattr(sys, "argv", ["latent-guard", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main("latent-guard", app)
        printed = capsys.readouterr()
        return Finished(int(stop.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def reading(latent_guard_command: Callable[..., Finished], tiny_bundle: Path, tmp_path: Path) -> Reading:
    return Reading(latent_guard_command, tiny_bundle, tmp_path / "out")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained ``pipeline/``, ``guard/`` and ``bank/``, side by side."""
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, tiny_pipeline(tokenizer=trimmed_clip_tokenizer(merges=200, context_length=16), pixels=16))
    return folder


@pytest.fixture
def built(latent_guard_command: Callable[..., Finished], tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bank of one concept, not calibrated."""
    prompts, out = tmp_path / "prompts.csv", tmp_path / "bank"
    prompts.write_text("prompt,category\na dagger,violence\na fork,\n")
    done = latent_guard_command("concepts", "build", prompts, "--model", tiny_bundle / "pipeline", "--out", out)
    assert done.code == 0
    return out
