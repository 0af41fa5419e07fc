from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.verdict import Decision

Command = Callable[..., Any]


@pytest.fixture
def log(latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path) -> Path:
    """Two blocked images, then one that was let through."""
    path, bank = tmp_path / "audit.jsonl", ConceptBank.load(tiny_bundle / "bank")
    for count, shift in ((2, -1e3), (1, 1e3)):
        bank.with_thresholds(bank.noise_levels, bank.thresholds + shift).save(tmp_path / "bank")
        latent_guard_command(
            "generate", "a cat", "--policy", "block", "--num-images", count, "--steps", 2, "--audit", path,
            "--model", tiny_bundle / "pipeline", "--bank", tmp_path / "bank", "--out", tmp_path / "out",
        )  # fmt: skip
    return path


def test_a_summary_counts_by_decision_and_category(latent_guard_command: Command, log: Path) -> None:
    done = latent_guard_command("audit", "summary", log)
    assert done.code == 0
    counts = {
        cells[1].strip(): dict(zip([*Decision, "all"], map(int, cells[2:-1]), strict=True))
        for line in done.out.splitlines()
        if len(cells := line.split("│")) > 3
    }
    assert {name: {key: n for key, n in row.items() if n} for name, row in counts.items()} == {
        "none": {Decision.ALLOWED: 1, "all": 1},
        "violence": {Decision.BLOCKED: 2, "all": 2},
        "all": {Decision.ALLOWED: 1, Decision.BLOCKED: 2, "all": 3},
    }


def test_a_summary_as_json_is_one_object(latent_guard_command: Command, log: Path) -> None:
    log.write_bytes(log.read_bytes() + b'{"cut off')
    done = latent_guard_command("audit", "summary", log, "--json")
    counts = json.loads(done.out)
    assert (counts["verdicts"], counts["unreadable_lines"]) == (3, 1)
    assert counts["by_decision"] == {"blocked": {"violence": 2}, "allowed": {"none": 1}}
    assert [name.split()[0] for name in counts["policies"]] == ["block"]
    assert "1 lines are not verdicts" in latent_guard_command("audit", "summary", log).err


def test_the_log_holds_no_prompt_unless_asked_for(
    latent_guard_command: Command, log: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    assert "a cat" not in log.read_text()
    latent_guard_command(
        "generate", "a cat", "--safe", "--steps", 2, "--audit", log, "--audit-prompts",
        "--model", tiny_bundle / "pipeline", "--out", tmp_path / "out",
    )  # fmt: skip
    assert json.loads(log.read_text().splitlines()[-1])["prompt"] == "a cat"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["audit", "summary", "/nonesuch/audit.jsonl"], "/nonesuch/audit.jsonl"),
        (["generate", "a cat", "--audit", "log"], "--safe"),
        (["generate", "a cat", "--safe", "--audit-prompts"], "--audit"),
    ],
)
def test_bad_use_gives_one_line_and_exit_code_2(
    latent_guard_command: Command, arguments: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = latent_guard_command(*arguments)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert named in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_written_is_found_out_before_anything_is_drawn(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    done = latent_guard_command(
        "generate", "a cat", "--safe", "--audit", tmp_path, "--steps", 2,
        "--model", tiny_bundle / "pipeline", "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.code == 2
    assert str(tmp_path) in done.err
    assert not (tmp_path / "out").exists()
