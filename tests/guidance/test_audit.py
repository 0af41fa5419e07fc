"""The audit log: what a line holds, and that many processes can share a file."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from latent_guard.errors import GuardError, InputError, LatentGuardError
from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.audit_entries import read_audit
from latent_guard.guidance.policy import BLOCK, FLAG, Policies
from latent_guard.testing import BrokenLatentCLIP, linear_bank, linear_guard, tiny_pipeline
from tests.pipelines.tiny import generators

QUICK: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent"}
ALWAYS, NEVER = -1e3, 1e3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_line_a_verdict_says_when_by_which_policy_bank_and_model_and_about_whom(path: Path) -> None:
    guard = linear_guard(ALWAYS, BLOCK, audit=AuditLog(path))
    output = guard.generate(tiny_pipeline(), ["a cat", "a dog"], seed=1, num_images_per_prompt=2, **QUICK)
    lines = entries(path)
    assert [line["verdict"] for line in lines] == [json.loads(v.to_json()) for v in output.verdicts]
    hashes = [hashlib.sha256(prompt.encode()).hexdigest() for prompt in ("a cat", "a cat", "a dog", "a dog")]
    assert [line["prompt_sha256"] for line in lines] == hashes
    assert lines[0]["policy"] == {"name": "block", "hash": Policies.of(BLOCK).digest}
    assert (lines[0]["latent_clip"], lines[0]["bank"]) == ("linear", linear_bank(ALWAYS).digest)
    assert datetime.fromisoformat(lines[0]["time"]).tzinfo is not None
    assert "a cat" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_prompts_are_written_out_where_asked_for(path: Path) -> None:
    guard = linear_guard(NEVER, FLAG, audit=AuditLog(path, prompts=True))
    guard.generate(tiny_pipeline(), 'a "cat"\n', seed=1, **QUICK)
    assert [(line["prompt"], "prompt_sha256" in line) for line in entries(path)] == [('a "cat"\n', False)]


def test_an_attached_guard_writes_each_verdict_as_it_falls(path: Path) -> None:
    guard, pipe = linear_guard(ALWAYS, BLOCK, audit=AuditLog(path)), tiny_pipeline()
    with guard.attach(pipe):
        pipe(["a cat", "a dog"], generator=generators(1, 2), **QUICK)
        assert [line["verdict"]["image"] for line in entries(path)] == [0, 1]
        pipe("a bird", generator=generators(3), **QUICK)
    assert [line["verdict"]["image"] for line in entries(path)] == [0, 1, 2]
    assert not any("prompt" in key for line in entries(path) for key in line)


def test_other_latents_that_are_decoded_after_the_call_have_a_line_of_their_own(path: Path) -> None:
    guard, pipe = linear_guard(0.0, BLOCK, audit=AuditLog(path)), tiny_pipeline()
    with guard.attach(pipe) as watch:
        latents = pipe("a cat", generator=generators(0), **QUICK).images
        assert [line["verdict"]["decision"] for line in entries(path)] == ["allowed"]
        pipe.vae.decode(-latents / pipe.vae.config.scaling_factor)
    assert [verdict.decision.value for verdict in watch.verdicts] == ["blocked"]
    assert [line["verdict"]["decision"] for line in entries(path)] == ["allowed", "blocked"]


def test_an_image_whose_verdict_cannot_be_written_down_is_not_handed_out(tmp_path: Path) -> None:
    guard, pipe = linear_guard(NEVER, audit=AuditLog(tmp_path / "no" / "folder.jsonl")), tiny_pipeline()
    with pytest.raises(GuardError, match=r"cannot write the audit log .*folder\.jsonl"):
        guard.generate(pipe, "a cat", seed=1, **QUICK)
    with pytest.raises(LatentGuardError, match="audit log"), guard.attach(pipe):
        pipe("a cat", **QUICK)


@pytest.mark.parametrize("prompts", [False, True])
def test_a_prompt_that_is_no_text_is_an_error_of_the_tree_and_leaves_no_line(path: Path, prompts: bool) -> None:
    output = linear_guard(NEVER).generate(tiny_pipeline(), "a cat", seed=1, **QUICK)
    log = AuditLog(path, prompts=prompts)
    with pytest.raises(InputError, match="not valid Unicode"):
        log.write(output.verdicts, ["a\udcff cat"], Policies.of(FLAG), linear_bank(NEVER))
    assert not path.exists()
    with pytest.raises(InputError, match="not valid Unicode"):
        linear_guard(NEVER).generate(tiny_pipeline(), "a\udcff cat", seed=1, **QUICK)


def test_lines_that_are_not_verdicts_are_counted_not_believed(path: Path) -> None:
    guard = linear_guard(ALWAYS, BLOCK, audit=AuditLog(path))
    guard.generate(tiny_pipeline(), "a cat", seed=1, **QUICK)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2] + b"\n[]\n\xff\xfe\n")
    found, unreadable = read_audit(path)
    assert ([(entry.decision, entry.category) for entry in found], unreadable) == ([("blocked", "violence")], 3)
    path.write_text("hello\n")
    with pytest.raises(InputError, match="holds no verdict"):
        read_audit(path)


def test_a_prompt_does_not_split_its_line(path: Path) -> None:
    guard = linear_guard(ALWAYS, BLOCK, audit=AuditLog(path, prompts=True))
    guard.generate(tiny_pipeline(), "a\u2028cat\u0085and\u2029a dog", seed=1, **QUICK)
    found, unreadable = read_audit(path)
    assert (len(found), unreadable) == (1, 0)


def test_a_line_that_was_cut_short_does_not_take_the_next_one_with_it(path: Path) -> None:
    guard = linear_guard(ALWAYS, BLOCK, audit=AuditLog(path))
    for _ in range(2):
        guard.generate(tiny_pipeline(), "a cat", seed=1, **QUICK)
        path.write_bytes(path.read_bytes()[:-30])
    guard.generate(tiny_pipeline(), "a cat", seed=1, **QUICK)
    found, unreadable = read_audit(path)
    assert (len(found), unreadable) == (1, 2)


def test_a_log_that_its_writer_may_not_read_is_written_to(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"line\n")
    monkeypatch.setattr(os, "access", lambda *_: False)
    path.chmod(0o200)
    AuditLog(path).append([{"another": 1}])
    path.chmod(0o600)
    assert path.read_bytes() == b'line\n{"another": 1}\n'


def test_a_guard_error_leaves_no_line(path: Path) -> None:
    guard, pipe = linear_guard(NEVER, audit=AuditLog(path)), tiny_pipeline()

    def interrupt(pipe: Any, step: int, _t: Any, values: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = True
        return values

    with pytest.raises(GuardError):
        guard.generate(pipe, "a cat", seed=1, callback_on_step_end=interrupt, **QUICK)
    assert not path.exists()


def test_an_image_that_went_unchecked_on_request_is_written_down_too(path: Path) -> None:
    log, critic = AuditLog(path), BrokenLatentCLIP(error=ValueError("out of order"))
    guard, pipe = linear_guard(0.0, model=critic, audit=log), tiny_pipeline()
    with guard.attach(pipe, on_error="open"):
        pipe("a cat", generator=generators(1), **QUICK)
    assert [line["verdict"]["decision"] for line in entries(path)] == ["unchecked"]
