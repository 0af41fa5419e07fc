from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.fitted_for import FittedFor
from latent_guard.guidance.policy import BLOCK, Policies, Policy
from latent_guard.serving.service import Service
from latent_guard.serving.settings import Settings
from latent_guard.testing import BrokenLatentCLIP, linear_guard, tiny_pipeline
from tests.serving.running import STEPS, UNSAFE, ask, get, picture, running

BLOCKING = Policy(steer=False, retries=0)


@pytest.fixture(scope="module")
def service() -> Any:
    with running(policy=BLOCKING, settings=Settings(max_images=3)) as found:
        yield found


def test_an_allowed_image_is_the_one_that_the_guard_draws_alone_with_its_verdict(service: Service) -> None:
    answered = ask(service, prompt="a cat", seed=7)
    body = answered.json()
    assert (answered.status_code, body["size"], body["output_format"]) == (200, "32x32", "png")
    (entry,) = body["data"]
    alone = linear_guard(1000, BLOCKING).generate(tiny_pipeline(), "a cat", seed=7, num_inference_steps=STEPS)
    assert picture(entry).size == alone.images[0].size
    assert entry["latent_guard"]["verdict"]["decision"] == "allowed"
    assert entry["latent_guard"]["seed"] == 7


def test_formats_sizes_and_numbers_of_images_are_what_was_asked_for(service: Service) -> None:
    body = ask(service, prompt="a cat", n=3, seed=1, size="32x32", output_format="webp", output_compression=50).json()
    assert [picture(entry).format for entry in body["data"]] == ["WEBP"] * 3
    assert body["size"] == "32x32"
    assert [entry["latent_guard"]["index"] for entry in body["data"]] == [0, 1, 2]
    assert [entry["latent_guard"]["seed"] for entry in body["data"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"prompt": "x" * 40_000}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "a", "n": 4}, "n"),
        ({"prompt": "a", "n": 0}, "n"),
        ({"prompt": "a", "n": True}, "n"),
        ({"prompt": "a", "n": "1"}, "n"),
        ({"prompt": "a", "size": "4096x4096"}, "size"),
        ({"prompt": "a", "num_inference_steps": STEPS + 1}, "num_inference_steps"),
        ({"prompt": "a", "moderation": "low"}, "moderation"),
        ({"prompt": "a", "response_format": "url"}, "response_format"),
        ({"prompt": "a", "stream": True}, "stream"),
        ({"prompt": "a", "partial_images": 1}, "partial_images"),
        ({"prompt": "a", "background": "transparent"}, "background"),
        ({"prompt": "a", "output_compression": 5}, "output_compression"),
        ({"prompt": "a", "model": "another"}, "model"),
        ({"prompt": "a", "seed": 2**63 - 1, "n": 2}, "seed"),
        ({"prompt": "a", "guidance_scale": 0.0}, "guidance_scale"),
        ({"prompt": "a", "negative_prompt": "b"}, "negative_prompt"),
        ({"prompt": "a", "policy": "flag"}, "policy"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(service: Service, body: dict[str, Any], param: str) -> None:
    answered = ask(service, **body)
    error = answered.json()["error"]
    assert (answered.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)


def test_when_all_images_are_withheld_the_answer_is_openais_refusal() -> None:
    with running(threshold=UNSAFE, policy=BLOCKING) as service:
        answered = ask(service, prompt="a cat", n=2)
        error = answered.json()["error"]
    assert (answered.status_code, error["code"]) == (400, "moderation_blocked")
    assert error["type"] == "image_generation_user_error"
    assert error["moderation_details"]["moderation_stage"] == "output"
    assert error["moderation_details"]["categories"]
    assert [one["index"] for one in error["latent_guard"]["withheld"]] == [0, 1]


def test_when_some_are_withheld_the_rest_comes_with_which_and_why() -> None:
    pipe = tiny_pipeline()
    scores = linear_guard(1000).generate(pipe, ["a"] * 3, seed=5, num_inference_steps=STEPS).verdicts
    values = sorted(score for verdict in scores for score in verdict.scores.values())
    between = (values[-1] + values[-2]) / 2
    worst = max(scores, key=lambda verdict: max(verdict.scores.values())).image
    with running(threshold=between, policy=BLOCKING, pipe=pipe) as service:
        body = ask(service, prompt="a", n=3, seed=5).json()
    assert [entry["latent_guard"]["index"] for entry in body["data"]] == [n for n in range(3) if n != worst]
    (withheld,) = body["latent_guard"]["withheld"]
    assert withheld["index"] == worst
    assert withheld["categories"]
    with running(Settings(on_block="raise"), threshold=between, policy=BLOCKING, pipe=pipe) as service:
        assert ask(service, prompt="a", n=3, seed=5).json()["error"]["code"] == "moderation_blocked"


def test_an_image_that_the_guard_could_not_check_is_503_and_a_broken_pipeline_500() -> None:
    guard = linear_guard(1000, BLOCKING)
    with running(guard=guard) as service:
        guard.model.encode_latents.function = BrokenLatentCLIP(error=RuntimeError("broken")).encode_latents  # type: ignore
        answered = ask(service, prompt="a cat")
        assert (answered.status_code, answered.json()["error"]["code"]) == (503, "could_not_check")
        counted = get(service, "/metrics").text
        assert 'latent_guard_errors_total{stage="guard"} 1.0' in counted
    pipe = tiny_pipeline()
    with running(pipe=pipe) as service:
        pipe.unet.register_forward_pre_hook(_raise)
        answered = ask(service, prompt="a cat")
        assert (answered.status_code, answered.json()["error"]["code"]) == (500, "internal_error")
        assert "secret" not in answered.text


def test_steps_that_the_policy_refuses_are_the_clients_to_mend() -> None:
    pipe = tiny_pipeline()
    guard = linear_guard(1000, Policies("own", BLOCKING, on_mismatch="refuse"))
    guard.fitted_for = FittedFor.of(pipe, "/a/private/place", {"num_inference_steps": STEPS}, (0.9, 0.4))
    with running(guard=guard, pipe=pipe) as service:
        assert ask(service, prompt="a").status_code == 200
        answered = ask(service, prompt="a", num_inference_steps=1)
        assert "errors_total{" not in get(service, "/metrics").text
    assert (answered.status_code, answered.json()["error"]["code"]) == (400, "not_fitted")
    assert "private" not in answered.text


def _raise(*_: object) -> None:
    raise RuntimeError("a secret of the pipeline")


def test_the_audit_log_has_every_verdict_and_503_comes_of_one_that_cannot_be_written(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    with running(policy=BLOCKING, audit=AuditLog(log)) as service:
        ask(service, prompt="a cat", n=2)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["verdict"]["decision"] for line in lines if "verdict" in line] == ["allowed"] * 2
        log.unlink()
        log.mkdir()
        answered = ask(service, prompt="a cat")
    assert answered.status_code == 503


def test_a_refused_request_ends_early() -> None:
    with running(threshold=UNSAFE, policy=BLOCK, settings=Settings(max_steps=20)) as service:
        withheld = ask(service, prompt="a", num_inference_steps=20).json()["error"]["latent_guard"]["withheld"]
        saved = get(service, "/metrics").text
    steps = withheld[0]["verdict"]["cost"]["model_evaluations"]
    assert steps <= 6
    assert f"latent_guard_steps_saved_total {20.0 - steps}" in saved
