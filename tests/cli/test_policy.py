from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latent_guard.guidance.policy_file import SHIPPED

Command = Callable[..., Any]
FILES = sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def test_checking_a_file_says_what_is_done_about_each_category(
    latent_guard_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    file = tmp_path / "own.yaml"
    file.write_text(
        "checks: {every: 3, clear_margin: 6}\nprompt: {trigger: 2}\n"
        "defaults: {abort_margin: 4, retries: 3, budget: 1.5}\n"
        "categories: {sexual: {measures: [flag, block], trigger: -1}}\n"
    )
    done = latent_guard_command("policy", "check", file)
    assert done.code == 0
    rows = {line.split("│")[1].strip(): line for line in done.out.splitlines() if line.count("│") > 2}
    assert set(rows) == {"sexual", "every other"}
    assert "flag, block" in rows["sexual"]
    assert "-1" in rows["sexual"]
    for shown in ("flag, steer, resample (3x), block", "+4", "1.5x"):
        assert shown in rows["every other"]
    assert "at every 3. step" in done.out
    assert "6 below every threshold" in done.out
    assert "flagged over 2" in done.out


@pytest.mark.parametrize("name", [*FILES, "safe", "flag"])
def test_every_policy_that_ships_can_be_checked_by_name(latent_guard_command: Command, name: str) -> None:
    done = latent_guard_command("policy", "check", name)
    assert done.code == 0
    assert f"policy {name} (" in done.out
    assert "every category" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("defaults: {measures: [hope]}", "defaults.measures"),
        ("categories: {violence: {window: [0.1, 0.9]}}", "categories.violence.window"),
        ("colour: red", "'colour'"),
        (None, "name a policy file"),
    ],
)
def test_a_policy_that_cannot_be_used_gives_one_line_and_exit_code_2(
    latent_guard_command: Command, tmp_path: Path, content: str | None, named: str
) -> None:
    file = tmp_path / "own.yaml"
    if content is not None:
        file.write_text(content)
    for arguments in (("policy", "check", file), ("generate", "a cat", "--policy", file, "--out", tmp_path / "out")):
        done = latent_guard_command(*arguments)
        assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
        assert str(file) in done.err
        assert named in done.err
    assert not (tmp_path / "out").exists()


def test_a_policy_that_fails_open_is_warned_of(latent_guard_command: Command, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("on_error: open\n")
    done = latent_guard_command("policy", "check", path)
    assert done.code == 0
    assert "warning: on_error: open: where the guard itself fails, images are handed out UNCHECKED" in done.out
    path.write_text("on_error: close\n")
    assert "UNCHECKED" not in latent_guard_command("policy", "check", path).out
