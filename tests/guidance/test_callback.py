"""`LatentGuardCallback` only observes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from latent_guard.errors import GuardError, UnsupportedPipelineError
from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.callback import LatentGuardCallback
from latent_guard.guidance.verdict import Decision
from latent_guard.testing import BrokenLatentCLIP, LinearLatentCLIP, linear_guard
from tests.pipelines.tiny import BY_NAME, raw

NEVER, ALWAYS = 1e3, -1e3
OBSERVED = [
    "StableDiffusionPipeline",
    "StableDiffusionXLInpaintPipeline",
    "StableDiffusion3Pipeline",
    "LatentConsistencyModelPipeline",
]


@pytest.mark.parametrize("name", OBSERVED)
def test_it_judges_the_final_latents_and_touches_nothing(name: str) -> None:
    family, critic = BY_NAME[name], LinearLatentCLIP()
    pipe = family.pipeline()
    plain = family.call(pipe)
    for threshold, decision in ((NEVER, Decision.ALLOWED), (ALWAYS, Decision.FLAGGED)):
        callback = LatentGuardCallback(linear_guard(threshold, model=critic))
        assert torch.equal(family.call(pipe, callback_on_step_end=callback), plain)
        assert [v.decision for v in callback.verdicts] == [decision] * 3
        scores = torch.tensor([v.scores["violence"] for v in callback.verdicts])
        torch.testing.assert_close(scores, critic.score(raw(pipe, plain)).detach())


def test_it_counts_on_over_several_calls() -> None:
    family = BY_NAME["StableDiffusionPipeline"]
    pipe, callback = family.pipeline(), LatentGuardCallback(linear_guard(NEVER))
    for _ in range(2):
        family.call(pipe, callback_on_step_end=callback)
    assert [v.image for v in callback.verdicts] == list(range(6))


def test_a_score_that_is_not_finite_is_flagged_and_a_failure_ends_the_call() -> None:
    family = BY_NAME["StableDiffusionPipeline"]
    pipe, callback = family.pipeline(), LatentGuardCallback(linear_guard(NEVER, model=BrokenLatentCLIP()))
    family.call(pipe, callback_on_step_end=callback)
    assert [v.decision for v in callback.verdicts] == [Decision.FLAGGED] * 3
    broken = LatentGuardCallback(linear_guard(NEVER, model=BrokenLatentCLIP(error=ValueError("out of order"))))
    with pytest.raises(GuardError, match="out of order"):
        family.call(pipe, callback_on_step_end=broken)


def test_its_verdicts_are_written_to_the_guards_audit_log(tmp_path: Path) -> None:
    family, log = BY_NAME["StableDiffusionPipeline"], AuditLog(tmp_path / "audit.jsonl")
    pipe, callback = family.pipeline(), LatentGuardCallback(linear_guard(ALWAYS, audit=log))
    for _ in range(2):
        family.call(pipe, callback_on_step_end=callback)
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["verdict"] for line in lines] == [json.loads(v.to_json()) for v in callback.verdicts]
    assert {line["policy"]["name"] for line in lines} == {"flag"}
    assert len(callback.verdicts) == 6
    unwritten = LatentGuardCallback(linear_guard(ALWAYS, audit=AuditLog(tmp_path / "no" / "folder.jsonl")))
    with pytest.raises(GuardError, match="cannot write the audit log"):
        family.call(pipe, callback_on_step_end=unwritten)
    assert unwritten.verdicts == []


@pytest.mark.parametrize(
    ("name", "changes", "error", "named"),
    [
        ("FluxPipeline", {}, UnsupportedPipelineError, "packed"),
        ("StableDiffusionXLPipeline", {"denoising_end": 0.5}, GuardError, "refiner"),
    ],
)
def test_what_it_cannot_read_is_refused(name: str, changes: dict[str, Any], error: Any, named: str) -> None:
    family = BY_NAME[name]
    with pytest.raises(error, match=named):
        family.call(family.pipeline(), callback_on_step_end=LatentGuardCallback(linear_guard(NEVER)), **changes)
