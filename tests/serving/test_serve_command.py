"""``latent-guard serve`` as a real process on loopback, with the stock client of OpenAI."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai
import pytest
from PIL import Image

from latent_guard.latent_clip.tokenizer import trimmed_clip_tokenizer
from latent_guard.testing import tiny_pipeline, write_bundle

KEY, TOKEN = "a-key-of-a-client", "the-admin-token"


@dataclass
class Process:
    """A service of its own, and what it wrote on stderr."""

    running: subprocess.Popen[str]
    address: str = ""
    lines: list[str] = field(default_factory=list)

    def client(self, key: str = KEY) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key=key, max_retries=0)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.address + path, timeout=30)

    def reload(self) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.post(f"{self.address}/admin/reload", headers=headers, timeout=30).status_code == 200

    def ask(self, timeout: float = 60, **body: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.post(f"{self.address}/v1/images/generations", json=body, headers=headers, timeout=timeout)


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def serving(*arguments: object, **environment: str) -> Iterator[Process]:
    """``latent-guard serve`` on a free port, ready."""
    command = [sys.executable, "-W", "ignore", "-m", "latent_guard", "serve", *map(str, arguments), "--port", "0"]
    own = {**os.environ, "LATENT_GUARD_API_KEYS": KEY, "OMP_NUM_THREADS": "1", **environment}
    process = Process(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=own))

    def read() -> None:
        assert process.running.stderr is not None
        for line in process.running.stderr:
            process.lines.append(line)
            if found := re.search(r"listening on (http://\S+);", line):
                process.address = found[1]

    threading.Thread(target=read, daemon=True).start()
    try:
        until(lambda: process.address or process.running.poll() is not None)
        assert process.address, process.lines
        until(lambda: process.get("/health/ready").status_code == 200 or process.running.poll() is not None)
        yield process
    finally:
        process.running.kill()
        process.running.wait()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained ``pipeline/``, ``guard/`` and ``bank/``, side by side."""
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, tiny_pipeline(tokenizer=trimmed_clip_tokenizer(merges=200, context_length=16), pixels=16))
    return folder


ALLOWING, BLOCKING = (f"defaults: {{measures: [flag, block], trigger: {trigger}}}\n" for trigger in (100, -100))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watched")
    (folder / "policy.yaml").write_text(ALLOWING)
    return folder


@pytest.fixture(scope="module")
def service(bundle: Path, watched: Path) -> Iterator[Process]:
    """One for all tests of this module, the last of which ends it."""
    arguments = ("--reload", watched, "--audit", watched / "audit.jsonl", "--max-steps", 900, "--max-batch", 1)
    arguments += ("--grace", 180, "--deadline", 180)  # of two requests on a machine that does much else
    with serving(bundle / "pipeline", *arguments, LATENT_GUARD_ADMIN_TOKEN=TOKEN) as process:
        yield process


def test_openais_client_gets_an_image(service: Process) -> None:
    answer = service.client().images.generate(prompt="a cat", n=2, extra_body={"seed": 3})
    assert answer.data is not None
    pictures = [Image.open(io.BytesIO(base64.b64decode(entry.b64_json or ""))) for entry in answer.data]
    assert [picture.size for picture in pictures] == [(16, 16)] * 2


def test_openais_client_has_its_own_exceptions_for_what_is_refused(service: Process) -> None:
    with pytest.raises(openai.AuthenticationError):
        service.client("a-wrong-key").images.generate(prompt="a cat")
    with pytest.raises(openai.BadRequestError) as refused:
        service.client().images.generate(prompt="a cat", moderation="low")
    assert refused.value.param == "moderation"


def test_openais_client_is_told_that_an_image_was_blocked(service: Process, watched: Path) -> None:
    (watched / "policy.yaml").write_text(BLOCKING)
    service.reload()
    with pytest.raises(openai.BadRequestError) as refused:
        service.client().images.generate(prompt="a private prompt")
    assert refused.value.code == "moderation_blocked"
    (watched / "policy.yaml").write_text(ALLOWING)
    service.reload()
    service.client().images.generate(prompt="a private prompt")
    log = (watched / "audit.jsonl").read_text()
    decisions = [json.loads(line)["verdict"]["decision"] for line in log.splitlines()[-2:]]
    assert decisions == ["blocked", "allowed"]
    assert "private" not in log + "".join(service.lines)


def test_a_client_that_hangs_up_frees_its_slot_at_the_next_step(service: Process) -> None:
    began = time.monotonic()
    assert service.ask(prompt="a", num_inference_steps=100).status_code == 200
    a_step = (time.monotonic() - began) / 100
    with pytest.raises(httpx.ReadTimeout):
        service.ask(timeout=0.5, prompt="a", num_inference_steps=900)
    began = time.monotonic()
    assert service.ask(prompt="a", num_inference_steps=1).status_code == 200
    assert time.monotonic() - began < max(1.0, 400 * a_step)
    assert any('"decision": "gone"' in line for line in service.lines)


def test_sigterm_finishes_what_was_accepted_and_refuses_what_is_new(service: Process) -> None:
    answers: list[int] = []

    def ask() -> None:
        answers.append(service.ask(180, prompt="a", num_inference_steps=300).status_code)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for one in asking:
        one.start()
    until(lambda: service.get("/health/ready").json()["queue"]["waiting"] == 1)
    service.running.send_signal(signal.SIGTERM)
    until(lambda: service.get("/health/ready").status_code == 503)
    late = service.ask(prompt="a")
    assert (late.status_code, late.json()["error"]["code"]) == (503, "stopping")
    for one in asking:
        one.join(180)
    assert answers == [200, 200]
    assert service.running.wait(30) == 0
    assert not any("Traceback" in line for line in service.lines)


@pytest.mark.slow
def test_what_sigkill_interrupts_hands_out_nothing_and_is_drawn_the_same_by_the_next_process(
    bundle: Path, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    arguments = (bundle / "pipeline", "--audit", log, "--max-steps", 900, "--policy", "flag")
    got: list[httpx.Response] = []

    def ask(process: Process) -> None:
        with contextlib.suppress(httpx.TransportError):
            got.append(process.ask(prompt="a", seed=3, num_inference_steps=900))

    with serving(*arguments) as process:
        ask(process)
        asking = threading.Thread(target=ask, args=[process])
        asking.start()
        time.sleep(0.5)
        process.running.kill()
        asking.join(60)
    with serving(*arguments) as process:
        ask(process)
    first, again = [answer.json()["data"][0]["b64_json"] for answer in got]
    assert first == again
    verify = [sys.executable, "-W", "ignore", "-m", "latent_guard", "audit", "verify", str(log)]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum("verdict" in json.loads(line) for line in log.read_text().splitlines()) == 2
