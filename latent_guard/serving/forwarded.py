"""An HTTP request as data, which can be sent to another process, and again to a third; and its answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from latent_guard.serving.around_requests import App, Message

Headers = tuple[tuple[bytes, bytes], ...]
_LAST_SECONDS = 5.0  # for an application to learn that nobody waits for its answer


@dataclass(frozen=True)
class Asked:
    """A request, body included; ``client`` is the address that it came from, with its port."""

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes
    client: tuple[str, int] | None = None


@dataclass(frozen=True)
class Answered:
    """The whole of an answer."""

    status: int
    headers: Headers
    body: bytes


async def answered(app: App, asked: Asked) -> Answered:
    """The answer of an application in this process; if this is cancelled, the application sees a client hang up."""
    sent: list[Message] = []
    body: list[Message] = [{"type": "http.request", "body": asked.body, "more_body": False}]
    hung_up = asyncio.Event()

    async def receive() -> Message:
        if body:
            return body.pop()
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    work = asyncio.ensure_future(app(_scope(asked), receive, send))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        hung_up.set()
        await asyncio.wait([work], timeout=_LAST_SECONDS)
        work.cancel()
        raise
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return Answered(sent[0]["status"], tuple(map(tuple, sent[0]["headers"])), content)


def _scope(asked: Asked) -> Message:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": asked.method,
        "scheme": "http",
        "path": asked.path,
        "raw_path": asked.path.encode(),
        "query_string": asked.query,
        "root_path": "",
        "headers": list(asked.headers),
        "client": asked.client,
        "server": None,
        "state": {},
    }
