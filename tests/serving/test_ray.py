"""The service on Ray Serve with two replicas of the shipped model, one of which is killed over what it accepted."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from latent_guard.errors import InputError
from latent_guard.guidance.audit_verify import verify
from latent_guard.serving.bulk.cluster import LOCAL, connected
from latent_guard.serving.ray import Options, app, begun
from latent_guard.serving.settings import KEYS
from tests.serving.bulk.clusters import processes, wait_until

KEY = "a key of this test"
PROMPTS = ("a cat", "a dog and a tree", "a red car", "two stars")


@dataclass(frozen=True)
class Served:
    address: str
    audit: Path

    def draw(self, prompt: str) -> tuple[int, Any]:
        """The status, and the picture with its decision."""
        headers, body = {"Authorization": f"Bearer {KEY}"}, {"prompt": prompt, "seed": 5}
        answer = httpx.post(f"{self.address}/v1/images/generations", json=body, headers=headers, timeout=120)
        (one,) = answer.json()["data"]
        return answer.status_code, (one["b64_json"], one["latent_guard"]["verdict"]["decision"])

    def replicas(self) -> list[int]:
        """Processes; their parents' parent is this one, which started Ray."""
        found = processes()
        ours = {pid for pid, parent, _ in found if parent == os.getpid()}
        return [pid for pid, parent, command in found if parent in ours and ":replica" in command]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    audit = tmp_path_factory.mktemp("audit") / "logs"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    from ray import serve

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEYS, KEY)
        with connected(LOCAL):
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            limits = {"min_replicas": 2, "max_replicas": 2, "cpus": 0.5, "audit": str(audit)}
            serve.run(app(limits))
            yield Served(f"http://127.0.0.1:{port}", audit)
            serve.shutdown()


@pytest.mark.slow
def test_a_replicas_death_loses_no_accepted_requests_verdict(served: Served) -> None:
    alone = [served.draw(prompt) for prompt in PROMPTS]
    assert [status for status, _ in alone] == [200] * len(PROMPTS)
    with ThreadPoolExecutor(len(PROMPTS)) as clients:
        pending = [clients.submit(served.draw, prompt) for prompt in PROMPTS]
        time.sleep(0.2)  # they are accepted, and drawn
        os.kill(served.replicas()[0], signal.SIGKILL)
        assert [answer.result() for answer in pending] == alone
    wait_until(lambda: len(served.replicas()) == 2)  # another one takes its place
    logs = list(served.audit.glob("*.jsonl"))
    assert verify(logs).intact
    assert len(logs) == 1  # of one machine
    assert logs[0].read_text().count("\n") >= 2 * len(PROMPTS)


@pytest.mark.slow
def test_a_request_without_a_key_is_refused(served: Served) -> None:
    assert httpx.post(f"{served.address}/v1/images/generations", json={"prompt": "a cat"}).status_code == 401


def test_a_service_without_keys_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEYS, raising=False)
    with pytest.raises(InputError, match=KEYS):
        begun(Options())


def test_an_unknown_or_wrong_arg_is_named() -> None:
    with pytest.raises(InputError, match="unknown key 'replicas'"):
        app({"replicas": 2})
    with pytest.raises(InputError, match="max_replicas"):
        app({"max_replicas": "two"})
