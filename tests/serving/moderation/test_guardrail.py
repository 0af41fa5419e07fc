"""LiteLLM's generic guardrail contract, as its proxy calls it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from latent_guard.serving import body
from latent_guard.serving.body import MAX_REQUESTS
from latent_guard.serving.metrics import Metrics
from latent_guard.serving.moderation.assessment import Assessment
from latent_guard.serving.moderation.endpoint import MAX_BODY
from latent_guard.serving.moderation.guardrail import PATH
from tests.serving.moderation.conftest import app_of, data_url, drawn, in_base64, served, stored, tiny_checker

HARMLESS, UNSAFE = "a picture of a cat on a green background", "a picture of a cat beside an axe"


def asked(address: str, **fields: Any) -> httpx.Response:
    return httpx.post(address + PATH, json={"input_type": "request", "request_data": {}, **fields}, timeout=60)


@pytest.fixture(scope="module")
def tiny_service() -> Iterator[str]:
    checker = tiny_checker()
    with served(app_of(lambda: checker)) as address:
        yield address


@pytest.mark.parametrize("direction", ["request", "response"])
def test_texts_are_let_through_or_blocked(shipped_service: str, direction: str) -> None:
    nothing = {"action": "NONE", "blocked_reason": None, "texts": None, "images": None}
    assert asked(shipped_service, input_type=direction, texts=[HARMLESS, ""], images=None).json() == nothing
    blocked = asked(shipped_service, input_type=direction, texts=[HARMLESS, UNSAFE]).json()
    assert blocked["action"] == "BLOCKED"
    assert blocked["blocked_reason"].endswith(": violence")


def test_pictures_and_arguments_of_tool_calls_are_judged_too(shipped_service: str) -> None:
    content = stored(drawn("cat", "axe"))
    for picture in (data_url(content), in_base64(content)):
        assert asked(shipped_service, texts=[HARMLESS], images=[picture]).json()["action"] == "BLOCKED"
    call = {"id": "1", "type": "function", "function": {"name": "draw", "arguments": '{"prompt": "a cat and an axe"}'}}
    assert asked(shipped_service, texts=[], tool_calls=[call]).json()["action"] == "BLOCKED"


def test_no_other_field_changes_the_verdict(shipped_service: str) -> None:
    others = {
        "additional_provider_specific_params": {"threshold": 99, "disabled": True},
        "action": "NONE", "policy": "flag", "model": "x", "litellm_version": "99", "a_field_of_tomorrow": [{}],
    }  # fmt: skip
    assert asked(shipped_service, texts=[UNSAFE], **others).json()["action"] == "BLOCKED"
    assert asked(shipped_service, texts=[HARMLESS], **others).json()["action"] == "NONE"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"texts": []},
        {"text": [UNSAFE]},
        {"texts": UNSAFE},
        {"texts": [1]},
        {"texts": ["a"], "input_type": "both"},
        {"texts": ["a"], "input_type": None},
        {"images": ["https://example.com/a.png"]},
        {"images": ["nothing"]},
        {"tool_calls": [{}]},
        {"tool_calls": [{"function": {"arguments": {"prompt": UNSAFE}}}]},
    ],
)
def test_what_cannot_be_judged_is_never_let_through(tiny_service: str, fields: dict[str, Any]) -> None:
    answer = asked(tiny_service, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_checker_that_fails_is_a_503_counted_and_logged_without_the_content(caplog: pytest.LogCaptureFixture) -> None:
    checker, metrics = tiny_checker(), Metrics()
    with served(app_of(lambda: checker, metrics)) as address:
        assert asked(address, texts=["a private text", "another"]).status_code == 200
        checker._scorer._model.text.to("meta")
        assert asked(address, texts=["a private text"]).status_code == 503
    counted = metrics.text(0).decode()
    assert 'latent_guard_moderations_total{decision="allowed"} 2.0' in counted
    assert 'latent_guard_errors_total{stage="moderation"} 1.0' in counted
    assert "meta" in caplog.messages[-1]
    assert "private" not in caplog.text


def test_a_body_that_comes_slowly_is_a_408(tiny_service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_SECONDS", 0.2)
    host, port = urlsplit(tiny_service).netloc.split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n".encode())
        assert b" 408 " in slow.recv(4096)


def test_what_a_client_that_hung_up_sent_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    checker, metrics = tiny_checker(), Metrics()
    judging, go_on = threading.Event(), threading.Event()
    texts = checker.texts

    def slowly(given: Sequence[str]) -> list[Assessment]:
        judging.set()
        go_on.wait(20)
        return texts(given)

    monkeypatch.setattr(checker, "texts", slowly)
    with served(app_of(lambda: checker, metrics)) as address, ThreadPoolExecutor(1) as clients:
        first = clients.submit(asked, address, texts=["a"])
        assert judging.wait(20)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(address + PATH, json={"input_type": "request", "texts": ["b"]}, timeout=0.5)
        go_on.set()
        assert first.result(20).status_code == 200
        assert asked(address, texts=["c"]).status_code == 200
    assert 'latent_guard_moderations_total{decision="allowed"} 2.0' in metrics.text(0).decode()


def test_a_body_that_is_too_large_is_not_read(tiny_service: str) -> None:
    answer = asked(tiny_service, texts=["a" * MAX_BODY])
    assert answer.status_code == 413


def test_who_comes_when_too_many_wait_is_told_to_come_again(tiny_service: str) -> None:
    host, port = urlsplit(tiny_service).netloc.split(":")
    with ExitStack() as held:
        for _ in range(MAX_REQUESTS):  # their bodies never come
            waiting = held.enter_context(socket.create_connection((host, int(port))))
            waiting.sendall(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n".encode())
        answer = until(tiny_service, 429)
        assert answer.headers["Retry-After"] == "1"
    assert until(tiny_service, 200).json()["action"] == "NONE"


def test_bodies_that_wait_take_so_much_memory_and_no_more(tiny_service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as smaller:
        smaller.setattr(body, "MAX_HELD", 1000)
        assert [asked(tiny_service, texts=["a" * 2000]).status_code for _ in range(2)] == [429, 429]
        assert asked(tiny_service, texts=["a"]).status_code == 200


def until(address: str, status: int) -> httpx.Response:
    for _ in range(100):
        answer = asked(address, texts=["a"])
        if answer.status_code == status:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"the service went on answering {answer.status_code}")
