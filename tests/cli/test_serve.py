from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Finished


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "LATENT_GUARD_API_KEYS"),
        (["--on-block", "blur"], "review key"),
        (["--on-block", "nothing"], "on_block must be one of"),
        (["--sizes", "big"], "WIDTHxHEIGHT"),
        (["--reload", "/nowhere/at/all"], "no folder"),
        (["--policy", "nonesuch"], "unknown policy"),
        (["--review", "kept"], "LATENT_GUARD_REVIEW_KEY"),
        (["--keep-days", "3"], "--keep-days needs --review"),
        (["--audit-rotate", "1000"], "--audit-rotate needs --audit"),
        (["--categories", "nowhere.yaml"], "the table of categories"),
    ],
)
def test_what_cannot_be_served_ends_in_one_line(
    latent_guard_command: Callable[..., Finished],
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = latent_guard_command("serve", tiny_bundle / "pipeline", "--port", 0, *arguments)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err


def test_a_size_that_the_pipeline_refuses_ends_the_start_in_one_line(
    latent_guard_command: Callable[..., Finished], tiny_bundle: Path
) -> None:
    done = latent_guard_command("serve", tiny_bundle / "pipeline", "--port", 0, "--sizes", "33x32")
    listening, refused = done.err.splitlines()
    assert done.code == 2
    assert "listening on" in listening
    assert "size 33x32 cannot be drawn" in refused


def test_keys_are_long_and_never_shown(
    latent_guard_command: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENT_GUARD_API_KEYS", "short1, a-long-enough-key")
    done = latent_guard_command("serve", "--port", 0)
    assert done.code == 2
    assert "fewer than 8 characters" in done.err
    assert "short1" not in done.err
