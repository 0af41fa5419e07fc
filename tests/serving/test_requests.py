"""What a service answers around its images: keys, unknown addresses, bodies, limits, health and metrics."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from typing import Any

import httpx
import pytest

from latent_guard.errors import InputError
from latent_guard.serving.service import Service
from latent_guard.serving.settings import Settings
from latent_guard.testing import linear_guard, tiny_pipeline
from tests.serving.running import PATH, UNSAFE, ask, get, running, talk

KEY, TOKEN = "a-key-of-a-client", "the-admin-token"


@pytest.fixture(scope="module")
def service() -> Any:
    with running(Settings(keys=("another-key", KEY), admin_token=TOKEN)) as found:
        yield found


@pytest.mark.parametrize("path", [PATH, "/v1/moderations", "/beta/litellm_basic_guardrail_api", "/admin/reload"])
def test_without_its_key_a_request_is_refused_wherever_it_goes(service: Service, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}):
        answered = talk(service, lambda client, path=path: client.post(path, json={"prompt": "a"}), **headers)
        assert (answered.status_code, answered.json()["error"]["code"]) == (401, "invalid_api_key")
    doubled = [("Authorization", f"Bearer {KEY}"), ("X-Api-Key", "wrong"), ("X-Api-Key", "another")]
    assert talk(service, lambda client: client.post(path, json={}, headers=doubled)).status_code == 401
    swapped = TOKEN if path != "/admin/reload" else KEY
    assert (
        talk(service, lambda client: client.post(path, json={}), Authorization=f"Bearer {swapped}").status_code == 401
    )


def test_with_its_key_it_is_answered(service: Service) -> None:
    answered = talk(service, lambda client: client.post(PATH, json={"prompt": "a"}), Authorization=f"Bearer {KEY}")
    assert answered.status_code == 200
    by_other = talk(service, lambda client: client.post(PATH, json={"prompt": "a"}), **{"x-api-key": KEY})
    assert by_other.status_code == 200
    assert len(answered.headers["x-request-id"]) == 32
    assert answered.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("POST", "/docs", 404), ("GET", PATH, 405)]
)
def test_an_unknown_address_has_openais_error_body(service: Service, method: str, path: str, status: int) -> None:
    answered = talk(service, lambda client: client.request(method, path), Authorization=f"Bearer {KEY}")
    assert answered.status_code == status
    assert answered.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"prompt": "a", "prompt": "b"}', 400),
        (b"[" * 100_000, 400),
        (b"\xff", 400),
        (b'{"prompt": "\\ud800"}', 400),
        (b'{"\\ud800\\u0000": 1, "prompt": "a"}', 400),
        (b'{"prompt": "a", "size": "\\ud800"}', 400),
        (b'{"prompt": "a", "user": "\\ud800"}', 400),
        (b'{"prompt": "a", "n": 1e400}', 400),
        (b'{"prompt": "' + b"a" * (1 << 20) + b'"}', 413),
    ],
)
def test_a_hostile_body_is_refused(service: Service, content: bytes, status: int) -> None:
    answered = talk(service, lambda client: client.post(PATH, content=content), Authorization=f"Bearer {KEY}")
    assert (answered.status_code, answered.json()["error"]["type"]) == (status, "invalid_request_error")


def test_it_is_ready_once_a_warm_up_image_was_judged_and_says_what_judged_it() -> None:
    service = Service(tiny_pipeline(), linear_guard(1000, "block"), Settings(), {"num_inference_steps": 3}, "tiny")
    assert get(service, "/health/live").status_code == 200
    assert get(service, "/health/ready").status_code == 503
    assert ask(service, prompt="a").status_code == 503
    service.start().result(60)
    posture = get(service, "/health/ready").json()
    assert posture["ready"]
    assert posture["policy"]["name"] == "block"
    assert posture["bank"]["digest"] == service.guard.bank.digest
    assert {"unet", "vae", "text_encoder", "latent_clip"} <= set(posture["weights"])
    assert posture["hooks"]["gate"] == "both"
    assert posture["hooks"]["checks_at_the_end"] >= 1
    service.stop()
    assert get(service, "/health/ready").status_code == 503
    assert ask(service, prompt="a").json()["error"]["code"] == "stopping"


def test_the_admins_token_is_no_clients_key() -> None:
    with pytest.raises(InputError, match="administrators"):
        Settings(keys=(TOKEN,), admin_token=TOKEN)


def test_sizes_are_tried_out_at_the_start() -> None:
    with running(Settings(sizes=("32x32",))) as service:
        assert ask(service, prompt="a", size="32x32").json()["size"] == "32x32"
    for size in ("33x32", "48x32"):  # the one is none of the pipeline's, the other none of this guard's
        with pytest.raises(InputError, match=f"size {size} cannot be drawn"), running(Settings(sizes=("32x32", size))):
            pass


def test_metrics_count_decisions_flags_and_scores_around_the_threshold() -> None:
    with running(threshold=UNSAFE, policy="block") as service:
        ask(service, prompt="a")
        text = get(service, "/metrics").text
    assert 'latent_guard_requests_total{decision="blocked",policy="block"} 1.0' in text
    assert 'latent_guard_images_total{decision="blocked"} 1.0' in text
    assert "latent_guard_flags_total{category=" in text
    assert "latent_guard_score_bucket" in text
    assert "latent_guard_look_seconds_count" in text
    assert "latent_guard_unchecked_total 0.0" in text


def test_the_log_has_a_line_a_request_without_its_prompt_unless_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "latent_guard.access")
    with running() as service:
        answered = ask(service, prompt="a very private prompt", user="someone")
    line = json.loads(caplog.messages[-1])
    assert line["id"] == answered.headers["x-request-id"]
    assert (line["status"], line["decision"], line["user"]) == (200, "allowed", "someone")
    assert "private" not in caplog.text
    with running(Settings(log_prompts=True)) as service:
        ask(service, prompt="a very private prompt")
    assert json.loads(caplog.messages[-1])["prompt"] == "a very private prompt"


class SlowPipeline:
    """A tiny pipeline whose steps wait until they may go on; counts its denoiser's evaluations."""

    def __init__(self) -> None:
        self.pipe = tiny_pipeline()
        self.evaluations = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.pipe.unet.register_forward_pre_hook(self._wait)

    def _wait(self, *_: object) -> None:
        self.evaluations += 1
        self.may_go_on.wait(20)


def _until(condition: Any, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_full_queue_answers_429_and_says_when_to_come_again() -> None:
    slow = SlowPipeline()
    with running(Settings(queue=1, max_batch=1), pipe=slow.pipe) as service:
        slow.may_go_on.clear()
        before = slow.evaluations

        async def crowd(client: httpx.AsyncClient) -> list[httpx.Response]:
            first = asyncio.create_task(client.post(PATH, json={"prompt": "a"}))
            while slow.evaluations == before:
                await asyncio.sleep(0.01)
            rest = [asyncio.create_task(client.post(PATH, json={"prompt": "a"})) for _ in range(3)]
            await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
            slow.may_go_on.set()
            return [await one for one in (first, *rest)]

        answers = talk(service, crowd)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"


def test_the_deadline_ends_a_run_at_its_next_step_with_504() -> None:
    slow = SlowPipeline()
    with running(Settings(deadline=0.3, max_batch=1, max_steps=50), pipe=slow.pipe) as service:
        slow.may_go_on.clear()
        before = slow.evaluations
        answered = ask(service, prompt="a", num_inference_steps=50)
        slow.may_go_on.set()
        service.queue.put_task(lambda: None).result(10)  # the thread that draws is free
        made = slow.evaluations - before
    assert (answered.status_code, answered.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert made == 1


def test_what_is_not_finished_within_the_grace_is_given_up_with_503() -> None:
    slow = SlowPipeline()
    with running(Settings(grace=0.1, max_batch=1), pipe=slow.pipe) as service:
        slow.may_go_on.clear()
        before = slow.evaluations
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(ask(service, prompt="a")))
        asking.start()
        _until(lambda: slow.evaluations > before)
        assert not service.stop()
        asking.join(10)
        slow.may_go_on.set()
    assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (503, "stopping")
