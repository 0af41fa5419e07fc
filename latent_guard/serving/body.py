"""The bodies of requests: of so many requests at a time, so many bytes in all, and each within so many seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request

from latent_guard.errors import InputError
from latent_guard.files.documents import json_value
from latent_guard.serving.refusal import HTTPRefusalError, bad_request, busy, hung_up

MAX_REQUESTS = 256  # whose bodies are held at a time
MAX_HELD = 256 << 20  # bytes of all these, which lie in memory
_OF_JSON = 1 << 20  # bytes of a prompt, or of a few hundred concepts
_SECONDS = 30.0  # in which a body has to arrive


class Bodies:
    """Reads all bodies of a process, and counts what it holds of them."""

    def __init__(self) -> None:
        self._requests = self._bytes = 0

    @asynccontextmanager
    async def body(self, request: Request, max_bytes: int) -> AsyncIterator[bytearray]:
        """The body of a request, which counts as held until the block is left.

        Raises:
            HTTPRefusalError: it is too large (413) or came too slowly (408), its client hung up, or too much is held
                already (429).
        """
        body = bytearray()
        self._requests += 1
        try:
            if self._requests > MAX_REQUESTS:
                raise busy(1)
            await self._receive_in_time(request, max_bytes, body)
            yield body
        finally:
            self._requests -= 1
            self._bytes -= len(body)

    async def json(self, request: Request, *, any_text: bool) -> Any:
        """The plain value of a body of JSON, None where there is no body; it is held while it is read only.

        ``any_text`` is that of ``json_value``.

        Raises:
            HTTPRefusalError: as ``body``, or it is no JSON (400).
        """
        async with self.body(request, _OF_JSON) as body:
            if not body:
                return None
            try:
                return json_value(bytes(body), "the body", any_text=any_text)
            except InputError as error:
                raise bad_request(error, code="invalid_json") from error

    async def _receive_in_time(self, request: Request, max_bytes: int, body: bytearray) -> None:
        try:
            await asyncio.wait_for(self._receive(request, max_bytes, body), _SECONDS)
        except asyncio.TimeoutError:
            message = f"the body did not arrive within {_SECONDS:g} seconds"
            raise HTTPRefusalError(408, message, "body_too_slow") from None

    async def _receive(self, request: Request, max_bytes: int, body: bytearray) -> None:
        """Add to a body what comes of it."""
        more = True
        while more:
            event = await request.receive()
            if event["type"] == "http.disconnect":
                raise hung_up()
            part = event.get("body", b"")
            body += part
            self._bytes += len(part)
            if len(body) > max_bytes:
                message = f"the body has over {max_bytes:,} bytes, and no more are read"
                raise HTTPRefusalError(413, message, "body_too_large")
            if self._bytes > MAX_HELD:
                raise busy(1)
            more = event.get("more_body", False)
