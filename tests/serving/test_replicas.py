"""A front and two replicas on Ray Serve, as real processes: one of them dies over a request that it had accepted."""

import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from latent_guard.serving.bulk.cluster import LOCAL, connected
from latent_guard.serving.replicas import MAX_BODY, deployed
from tests.serving.bulk.clusters import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The processes of the replicas that began a slow request, a file each."""
    return tmp_path_factory.mktemp("seen")


@pytest.fixture(scope="module")
def address(seen: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def begin() -> Any:
        import asyncio

        from fastapi import FastAPI, HTTPException, Request, Response

        app = FastAPI()

        async def slow(request: Request) -> Response:
            (seen / str(os.getpid())).touch()
            for _ in range(40):
                if len(list(seen.iterdir())) > 1:  # another one had it before
                    return Response(await request.body(), 201, {"X-By": str(os.getpid())})
                if await request.is_disconnected():
                    (seen / "hung up").touch()
                await asyncio.sleep(0.25)
            raise HTTPException(500)

        async def refuse() -> None:
            raise HTTPException(400, {"code": "moderation_blocked"})

        app.add_api_route("/slow", slow, methods=["POST"])
        app.add_api_route("/refuse", refuse)
        return app, lambda: None

    from ray import serve

    with connected(LOCAL):
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        light = {"ray_actor_options": {"num_cpus": 0.1}}
        serve.run(deployed(begin, {**light, "num_replicas": 2}, light))
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()


def test_an_answer_passes_the_front_as_it_is(address: str) -> None:
    answer = httpx.get(f"{address}/refuse")
    assert (answer.status_code, answer.json()) == (400, {"detail": {"code": "moderation_blocked"}})
    assert answer.headers.get_list("content-type") == ["application/json"]
    assert httpx.get(f"{address}/nowhere").status_code == 404
    assert httpx.post(f"{address}/slow", content=bytes(MAX_BODY + 1), timeout=60).status_code == 413


def test_what_a_replica_dies_over_is_answered_by_another(address: str, seen: Path) -> None:
    with ThreadPoolExecutor(1) as clients:
        pending = clients.submit(httpx.post, f"{address}/slow", content=b"draw this", timeout=60)
        wait_until(lambda: any(seen.iterdir()) or pending.done())
        (first,) = [int(file.name) for file in seen.iterdir()]
        os.kill(first, signal.SIGKILL)
        answer = pending.result()
    assert (answer.status_code, answer.content) == (201, b"draw this")
    assert int(answer.headers["X-By"]) != first


def test_a_client_that_hangs_up_is_seen_by_the_replica(address: str, seen: Path) -> None:
    for file in seen.iterdir():
        file.unlink()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{address}/slow", content=b"draw this", timeout=2)
    wait_until(lambda: (seen / "hung up").exists(), 20)
