"""The service as a way: its application, a request for both images, and what the answer says."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
from PIL import Image

from latent_guard.guidance.guard import LatentGuard
from latent_guard.serving.app import create_app
from latent_guard.serving.images import PATH
from latent_guard.serving.service import Service
from latent_guard.serving.settings import Settings
from tests.faults.outcome import Handed, Judged, RefusedError
from tests.faults.scene import CALL, PROMPT, STEPS, Picture, Scene, lenient


def service(scene: Scene) -> Handed:
    """``POST /v1/images/generations`` to a service that was ready before anything failed."""
    with started(scene) as own:
        app = create_app(own)
        if scene.hangs_up:
            return _hung_up(app, own, scene)
        with _reloading(own, scene) as reloaded:
            status, body = asyncio.run(_answer(app, _asked(scene)))
        if scene.reloads:
            assert reloaded[0].result(60) is own.in_force, "the other bank judges from then on"
    if status == 200:
        return _handed(body["data"], body["latent_guard"]["withheld"], "200, ")
    error = body["error"]
    if error["code"] == "moderation_blocked":
        return _handed([], error["latent_guard"]["withheld"], f"{status} `{error['code']}`, ")
    raise RefusedError(f"{status} `{error['code']}`")


@contextmanager
def started(scene: Scene) -> Iterator[Service]:
    """A service with the scene's pipeline and guard, which passed its warm-up; from then on parts may fail."""
    scene.armed, scene.released = False, threading.Event()
    guard = scene.guard()
    own = Service(scene.pipe, guard, Settings(deadline=scene.deadline, grace=5.0), CALL)
    own.start().result()
    scene.armed = True
    try:
        yield own
    finally:
        scene.released.set()
        own.stop()


@contextmanager
def _reloading(own: Service, scene: Scene) -> Iterator[list[Future[Any]]]:
    """The block in which another bank is to be put in force as soon as a step is made, where the scene says so."""
    begun: list[Future[Any]] = []

    def reload(*_: Any) -> None:
        if scene.reloads and not begun:
            guard = own.guard
            other = LatentGuard(guard.model, lenient(guard.bank), guard.policies, guard.canary, guard.audit)
            begun.append(own.replace_guard(other))

    handle = scene.pipe.unet.register_forward_pre_hook(reload)
    try:
        yield begun
    finally:
        handle.remove()


def _hung_up(app: Any, own: Service, scene: Scene) -> Handed:
    """A client sends its request and is gone at the first step: what it would get, and whether its slot is free."""
    steps: list[int] = []
    sent: list[dict[str, Any]] = []
    at_work = threading.Event()

    def at_step(*_: Any) -> None:
        steps.append(1)
        at_work.set()
        time.sleep(0.2)  # a model of this size would be done before anybody has hung up

    scene.pipe.unet.register_forward_pre_hook(at_step)
    body = json.dumps(_asked(scene)).encode()
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.to_thread(at_work.wait)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": "POST", "path": PATH, "raw_path": PATH.encode(), "query_string": b""}
    scope |= {"headers": head, "client": ("127.0.0.1", 1), "server": ("service", 80), "scheme": "http"}
    asyncio.run(app({**scope, "http_version": "1.1", "root_path": "", "asgi": {"version": "3.0"}}, receive, send))
    own.queue.put_task(lambda: None).result(60)  # the thread that draws is free again
    assert len(steps) < STEPS, "steps were made for nobody"
    (start, *_) = sent
    raise RefusedError(f"{start['status']}, its slot is free at the next step")


def _asked(scene: Scene) -> dict[str, Any]:
    own = {"prompt": PROMPT, "n": 2, "seed": scene.known.seed}
    return {**own, "output_type": scene.output_type} if scene.output_type == "latent" else own


async def _answer(app: Any, asked: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=60) as client:
        answer = await client.post(PATH, json=dict(asked))
    return answer.status_code, answer.json()


def _handed(data: list[dict[str, Any]], withheld: list[dict[str, Any]], status: str) -> Handed:
    pictures: dict[int, Picture] = {}
    verdicts = {one["index"]: one["verdict"] for one in withheld}
    for entry in data:
        about = entry["latent_guard"]
        pictures[about["index"]] = _picture(entry["b64_json"])
        verdicts[about["index"]] = about["verdict"]
    judged = [_judged(verdicts[image]) for image in sorted(verdicts)]
    return Handed([pictures.get(image) for image in sorted(verdicts)], judged, status=status)


def _judged(verdict: Mapping[str, Any]) -> Judged:
    return Judged(verdict["decision"], float(next(iter(verdict["scores"].values()), "nan")), verdict["gate"])


def _picture(content: str) -> Picture:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))), dtype=np.float32) / 255
