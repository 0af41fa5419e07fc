"""Services on tiny pipelines, and clients of them within the process."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from PIL import Image

from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.guard import LatentGuard
from latent_guard.review.store import ReviewStore
from latent_guard.serving.app import create_app
from latent_guard.serving.reloading import Reloading
from latent_guard.serving.service import Service
from latent_guard.serving.settings import Settings
from latent_guard.testing import linear_guard, tiny_pipeline

T = TypeVar("T")
PATH = "/v1/images/generations"
STEPS = 3
SAFE, UNSAFE = 1000.0, -1000.0  # thresholds over which no image is, and every one


@contextmanager
def running(
    settings: Settings = Settings(),  # noqa: B008  # frozen
    *,
    guard: LatentGuard | None = None,
    threshold: float = SAFE,
    policy: Any = "block",
    audit: AuditLog | None = None,
    review: ReviewStore | None = None,
    pipe: Any = None,
) -> Iterator[Service]:
    """A service that is ready."""
    own = guard or linear_guard(threshold, policy, audit=audit)
    service = Service(pipe or tiny_pipeline(), own, settings, {"num_inference_steps": STEPS}, "tiny", review)
    service.start().result(60)
    try:
        yield service
    finally:
        service.stop()


def talk(service: Service, conversation: Callable[[httpx.AsyncClient], Awaitable[T]], **headers: str) -> T:
    """What comes of a conversation with a service."""

    async def run() -> T:
        transport = httpx.ASGITransport(create_app(service, Reloading(service)))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://service", headers=headers) as client:
            return await conversation(client)

    return asyncio.run(run())


def ask(service: Service, path: str = PATH, **body: Any) -> httpx.Response:
    """The answer to one POST."""
    return talk(service, lambda client: client.post(path, json=body))


def get(service: Service, path: str) -> httpx.Response:
    """The answer to one GET."""
    return talk(service, lambda client: client.get(path))


def picture(entry: dict[str, Any]) -> Image.Image:
    """The picture of one entry of an answer."""
    return Image.open(io.BytesIO(base64.b64decode(entry["b64_json"])))
