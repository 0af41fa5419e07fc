from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latent_guard.bench.world import SHIPPED_WORLD
from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.policy import BLOCK, FLAG, Policies
from latent_guard.guidance.verdict import Decision, Verdict
from latent_guard.review.decisions import DecisionLog, ReviewDecision
from latent_guard.testing import linear_bank

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


HOSTILE = "<script>alert(1)</script> | [x](javascript:alert(1))"


def written(path: Path, category: str = "violence", **settings: Any) -> Path:
    """A log of a blocked image, two unchecked ones under another policy, and an allowed one."""
    log, bank = AuditLog(path, **settings), linear_bank(0.0)
    blocked = Verdict(0, Decision.BLOCKED, category, {category: 2.0}, {category: 1.0})
    unchecked = Verdict(0, Decision.UNCHECKED, None, {}, {})
    log.write([blocked, Verdict(1, Decision.ALLOWED, None, {}, {})], ["a cat", "a dog"], Policies.of(BLOCK), bank)
    log.write([unchecked, unchecked], None, Policies.of(FLAG), bank, "open")
    return path


def test_verify_says_intact_and_the_head_which_then_shows_what_was_cut_off(
    latent_guard_command: Command, tmp_path: Path
) -> None:
    log = written(tmp_path / "log")
    done = latent_guard_command("audit", "verify", log)
    head = done.out.split()[-1]
    assert (done.code, done.out) == (0, f"intact: 4 lines; head {head}\n")
    log.write_bytes(b"".join(log.read_bytes().splitlines(True)[:2]))
    assert latent_guard_command("audit", "verify", log).code == 0
    done = latent_guard_command("audit", "verify", log, "--head", head)
    assert done.code == 1
    assert "without line 4 of the chain" in done.out


def test_verify_names_the_line_that_was_changed_and_the_gaps_that_are_marked(
    latent_guard_command: Command, tmp_path: Path
) -> None:
    log = written(tmp_path / "log")
    log.write_bytes(log.read_bytes()[:-30])
    written(log)
    done = latent_guard_command("audit", "verify", log)
    assert (done.code, done.out.splitlines()[-1].split(":")[0]) == (0, "intact, but for 1 marked gaps")
    assert f"gap: {log} line 4: " in done.out
    log.write_bytes(log.read_bytes().replace(b'"allowed"', b'"blocked"', 1))
    done = latent_guard_command("audit", "verify", log)
    assert done.code == 1
    assert f"problem: {log} line 2: it was changed" in done.out


def test_verify_takes_the_key_from_the_environment(
    latent_guard_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENT_GUARD_AUDIT_KEY", "a key of twenty bytes")
    log = written(tmp_path / "log", rotate_at=800)
    assert latent_guard_command("audit", "verify", log).code == 0
    assert json.loads(log.with_name("log.000001").read_text().splitlines()[0])["prompt_hmac_sha256"]
    monkeypatch.setenv("LATENT_GUARD_AUDIT_KEY", "another of twenty bytes")
    assert latent_guard_command("audit", "verify", log).code == 1
    monkeypatch.delenv("LATENT_GUARD_AUDIT_KEY")
    done = latent_guard_command("audit", "verify", log)
    assert (done.code, "LATENT_GUARD_AUDIT_KEY" in done.err) == (2, True)


def test_a_report_states_decisions_openings_what_was_in_force_calibration_appeals_and_the_chain(
    latent_guard_command: Command, tmp_path: Path
) -> None:
    log, bank, kept = written(tmp_path / "log"), SHIPPED_WORLD.bundle() / "bank", tmp_path / "kept"
    kept.mkdir()
    for number, choice in enumerate(("uphold", "overturn", "overturn")):
        DecisionLog(kept).add(ReviewDecision.now(str(number), choice, "violence", "me"))  # type: ignore[arg-type]
    out = tmp_path / "report.md"
    done = latent_guard_command("audit", "report", log, "--guard", bank, "--decisions", kept, "--out", out)
    assert (done.code, done.out) == (0, f"wrote {out}\n")
    page = out.read_text()
    assert "| violence | 0 | 0 | 0 | 0 | 1 | 0 | 1 |" in page
    assert "**2 images were handed out unchecked.**" in page
    assert f"flag {Policies.of(FLAG).digest}" in page
    assert f"The bank {ConceptBank.load(bank).digest}, which gave 0 of 4 verdicts: at most " in page
    assert "| violence | 1 | 2 | 66.7% (20.8 to 93.9) |" in page
    assert "is intact: 4 lines" in page


def test_a_report_is_of_its_period(latent_guard_command: Command, tmp_path: Path) -> None:
    log, out = written(tmp_path / "log"), tmp_path / "report.md"
    days = ["--from", "2001-01-01", "--to", "2001-12-31"]
    assert latent_guard_command("audit", "report", log, *days, "--out", out).code == 0
    assert "# Audit report, 2001-01-01 to 2001-12-31" in out.read_text()
    assert "no verdict of this period" in out.read_text()
    done = latent_guard_command("audit", "report", log, *days[::-1][::-1][2:], "--from", "2002-01-01", "--out", out)
    assert (done.code, "ends" in done.err) == (2, True)


def test_a_page_is_one_file_without_script_and_a_log_that_was_changed_is_an_alarm(
    latent_guard_command: Command, tmp_path: Path
) -> None:
    log, out = written(tmp_path / "log", category=HOSTILE), tmp_path / "report.html"
    log.write_bytes(log.read_bytes().replace(b'"allowed"', b'"blocked"', 1))
    done = latent_guard_command("audit", "report", log, "--out", out)
    assert (done.code, "NOT intact" in done.err) == (0, True)
    page = out.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "default-src &#39;none&#39;" in page
    assert "script-src" not in page
    assert not re.search(r"(src|href)=.https?:", page)
    assert "NOT as it was written" in page
    latent_guard_command("audit", "report", log, "--out", tmp_path / "report.md")
    assert "\\| \\[x\\](javascript" in (tmp_path / "report.md").read_text()
    assert "<script" not in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["audit", "report", "log"], "--out"),
        (["audit", "report", "log", "--out", "page.pdf"], ".html or .md"),
        (["audit", "report", "log", "--out", "page.md", "--from", "yesterday"], "--from"),
        (["audit", "verify", "log"], "log"),
        (["audit", "verify", "log", "--head", "7"], "a head is"),
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
