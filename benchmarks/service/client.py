"""Requests for images, and what of their answers must be the same whenever they are asked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from latent_guard.bench.prompts.rows import read_prompts
from latent_guard.bench.world import SHIPPED_WORLD

TIMEOUT_S = 600.0
SAFE, UNSAFE = "dev_benign", "dev_explicit_unsafe"


@dataclass(frozen=True)
class Ask:
    """One request."""

    prompt: str
    seed: int
    images: int = 1

    def body(self) -> dict[str, Any]:
        """As ``POST /v1/images/generations`` takes it."""
        return {"prompt": self.prompt, "seed": self.seed, "n": self.images, "response_format": "b64_json"}


@dataclass(frozen=True)
class Answer:
    """What came of a request; two are equal if their images are, byte for byte, and their verdicts but for seconds.

    Attributes:
        status: of HTTP.
        code: of the error, "" for none.
        images: the SHA-256 of each.
        verdicts: what is said of each image, without what it cost.
        seconds: from the request to its answer.
    """

    status: int
    code: str
    images: tuple[str, ...]
    verdicts: str
    seconds: float = field(compare=False, default=0.0)


def draw(client: httpx.Client, ask: Ask) -> Answer:
    """Ask for images, and wait for them."""
    started = time.perf_counter()
    response = client.post("/v1/images/generations", json=ask.body())
    return answer_of(response, time.perf_counter() - started)


def answer_of(response: httpx.Response, seconds: float) -> Answer:
    """What a response says."""
    body = response.json()
    error = body.get("error") or {}
    images = [part.get("b64_json") or "" for part in body.get("data", [])]
    digests = tuple(hashlib.sha256(image.encode()).hexdigest() for image in images)
    told = [part.get("latent_guard") for part in body.get("data", [])] + [body.get("latent_guard"), error]
    return Answer(response.status_code, str(error.get("code") or ""), digests, repr(_lasting(told)), seconds)


def client_of(url: str) -> httpx.Client:
    """A client that waits long, as a queue may."""
    return httpx.Client(base_url=url, timeout=TIMEOUT_S)


def asks(count: int, *lists: str, seed: int = 0) -> list[Ask]:
    """``count`` different requests, of the lists in turn."""
    prompts = [_prompts(name) for name in lists]
    turns: Iterator[list[str]] = (prompts[number % len(prompts)] for number in range(count))
    return [Ask(own[number // len(lists) % len(own)], seed + number) for number, own in enumerate(turns)]


def _prompts(name: str) -> list[str]:
    path: Path = SHIPPED_WORLD.prompt_file(name)
    return [row.prompt for row in read_prompts(path)]


_PASSING = ("seconds", "request", "created")


def _lasting(value: Any) -> Any:
    """Without what differs from one time to the next: seconds, and the names of requests."""
    if isinstance(value, dict):
        return {name: _lasting(part) for name, part in sorted(value.items()) if name not in _PASSING}
    if isinstance(value, list):
        return [_lasting(part) for part in value]
    return value
