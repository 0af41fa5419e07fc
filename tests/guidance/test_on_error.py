"""A policy that lets images go on unguarded where the guard fails: its file, its digest and the log say so."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from latent_guard.errors import GuardError, InputError
from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.policy import BLOCK, SAFE, Policies
from latent_guard.guidance.policy_file import policy_text, read_policies
from latent_guard.guidance.verdict import Decision
from latent_guard.testing import BrokenLatentCLIP, LinearLatentCLIP, linear_guard, tiny_pipeline

QUICK: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent"}
OPEN = Policies("mine", BLOCK, on_error="open")


class _BrokenAtOneImage(LinearLatentCLIP):
    def score(self, raw: Tensor) -> Tensor:
        if len(raw) == 1:
            raise ValueError("out of order")
        return super().score(raw)


def test_an_open_policy_holds_unless_the_call_says_close(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = AuditLog(tmp_path / "log")
    guard = linear_guard(0.0, OPEN, BrokenLatentCLIP(error=ValueError("out of order")), audit=log)
    pipe = tiny_pipeline()
    with caplog.at_level(logging.WARNING, "latent_guard"):
        output = guard.generate(pipe, "a cat", seed=1, **QUICK)
        with guard.attach(pipe) as watch:
            pipe("a cat", **QUICK)
    assert {verdict.decision for verdict in (*output.verdicts, *watch.verdicts)} == {Decision.UNCHECKED}
    assert sum("by the policy" in record.message for record in caplog.records) == 2
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [(line["on_error"], line["policy"]["hash"]) for line in lines] == [("open", OPEN.digest)] * 2
    with pytest.raises(GuardError):
        guard.generate(pipe, "a cat", seed=1, on_error="close", **QUICK)


def test_where_the_look_at_a_preview_fails_every_image_of_the_call_has_a_verdict() -> None:
    guard = linear_guard(100.0, OPEN, _BrokenAtOneImage())
    pipe = tiny_pipeline()

    def previews(pipe: Any, step: int, _: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if step == 0:
            pipe.vae.decode(values["latents"][:1] / pipe.vae.config.scaling_factor)
        return values

    with guard.attach(pipe) as watch:
        pipe("a cat", num_images_per_prompt=3, num_inference_steps=2, callback_on_step_end=previews)
    assert [verdict.decision for verdict in watch.verdicts] == [Decision.UNCHECKED] * 3


def test_it_is_part_of_the_file_and_of_the_digest_where_it_is_open_alone(tmp_path: Path) -> None:
    assert OPEN.digest != Policies("mine", BLOCK).digest
    for policies in (OPEN, Policies("mine", SAFE)):
        path = tmp_path / "mine.yaml"
        path.write_text(policy_text(policies))
        assert read_policies(path) == policies
    assert "on_error" not in policy_text(Policies("mine", SAFE))


@pytest.mark.parametrize("value", ["ignore", "true", "[open]", "null"])
def test_another_word_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"on_error: {value}\n")
    with pytest.raises(InputError, match="on_error must be close or open"):
        read_policies(path)
    with pytest.raises(InputError, match="on_error must be close or open"):
        Policies("mine", SAFE, on_error=value)  # type: ignore[arg-type]
