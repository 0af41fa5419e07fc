"""LiteLLM's proxy, as it is installed from its package, with the service as its guardrail.

Its pins would change other packages here, so it lives in an environment of its own: ``make test-litellm`` makes it.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from fastapi import FastAPI, Request, Response

from latent_guard.serving.moderation.checker import ContentChecker
from tests.serving.moderation.conftest import app_of, data_url, drawn, served, stored

LITELLM = os.environ.get("LATENT_GUARD_LITELLM")
HARMLESS, UNSAFE = "a picture of a cat on a green background", "a picture of a cat beside an axe"
START_SECONDS = 240
GUARD_KEY = secrets.token_hex(16)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LITELLM, reason="LATENT_GUARD_LITELLM names no litellm command; run make test-litellm"),
]


def language_model(seen: list[Any]) -> FastAPI:
    """A model behind the proxy that says the same to everything, and keeps what reached it."""
    app = FastAPI()

    @app.post("/v1/chat/completions")
    def complete(body: dict[str, Any]) -> dict[str, Any]:
        seen.append(body["messages"])
        message = {"role": "assistant", "content": "a sunny garden"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}

    return app


def guard_with_key(checker: ContentChecker) -> FastAPI:
    """The endpoints for those who bring the key, as the service asks for one."""
    app = app_of(lambda: checker)

    @app.middleware("http")
    async def require_key(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        known = request.headers.get("Authorization") == f"Bearer {GUARD_KEY}"
        return await answer(request) if known else Response(status_code=401)

    return app


@dataclass
class Proxy:
    """The proxy's client, what reached the model behind it, and what stops the guard's service."""

    client: openai.OpenAI
    reached: list[Any]
    guard: ExitStack

    def ask(self, content: Any) -> str | None:
        messages: Any = [{"role": "user", "content": content}]
        return self.client.chat.completions.create(model="m", messages=messages).choices[0].message.content


def config(model: str, guard: str) -> dict[str, Any]:
    guardrail = {
        "guardrail": "generic_guardrail_api",
        "mode": "pre_call",
        "default_on": True,
        "api_base": guard,
        "headers": {"Authorization": f"Bearer {GUARD_KEY}"},
        "unreachable_fallback": "fail_closed",
    }
    behind = {"model": "openai/m", "api_base": f"{model}/v1", "api_key": "none"}
    return {
        "model_list": [{"model_name": "m", "litellm_params": behind}],
        "guardrails": [{"guardrail_name": "latent-guard", "litellm_params": guardrail}],
    }


@pytest.fixture(scope="module")
def proxy(shipped_checker: ContentChecker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder, key, reached = tmp_path_factory.mktemp("litellm"), f"sk-{secrets.token_hex(32)}", list[Any]()
    with ExitStack() as held, ExitStack() as guard:
        model = held.enter_context(served(language_model(reached)))
        service = guard.enter_context(served(guard_with_key(shipped_checker)))
        (folder / "config.yaml").write_text(yaml.safe_dump(config(model, service)))
        address = held.enter_context(running(folder, key))
        yield Proxy(openai.OpenAI(api_key=key, base_url=address, max_retries=0, timeout=60), reached, guard)


@contextmanager
def running(folder: Path, key: str) -> Iterator[str]:
    """The address of a proxy with the configuration of a folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(LITELLM), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # asks no network
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/health/liveliness", process, folder / "log")
        yield address
    finally:
        process.terminate()
        process.wait(60)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5).status_code == 200:
                return
        time.sleep(0.5)
    pytest.fail(f"the proxy did not start:\n{log.read_text()[-2000:]}")


def test_what_is_harmless_reaches_the_model(proxy: Proxy) -> None:
    assert proxy.ask(HARMLESS) == "a sunny garden"
    assert proxy.reached[-1][0]["content"] == HARMLESS


def test_an_unsafe_prompt_or_picture_is_a_400_and_never_reaches_it(proxy: Proxy) -> None:
    before = list(proxy.reached)
    picture = {"type": "image_url", "image_url": {"url": data_url(stored(drawn("cat", "axe")))}}
    for content in (UNSAFE, [{"type": "text", "text": HARMLESS}, picture]):
        with pytest.raises(openai.BadRequestError, match="violence"):
            proxy.ask(content)
    assert proxy.reached == before


def test_a_picture_that_cannot_be_judged_is_refused(proxy: Proxy) -> None:
    before = list(proxy.reached)
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    with pytest.raises(openai.APIStatusError):
        proxy.ask([{"type": "text", "text": HARMLESS}, picture])
    assert proxy.reached == before


def test_without_the_guard_nothing_passes(proxy: Proxy) -> None:
    """The last test: it stops the service."""
    before = list(proxy.reached)
    proxy.guard.close()
    with pytest.raises(openai.APIStatusError) as caught:
        proxy.ask(HARMLESS)
    assert caught.value.status_code >= 400
    assert proxy.reached == before
