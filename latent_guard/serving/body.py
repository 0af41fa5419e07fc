"""The body of a request: so many bytes and no more, within so many seconds, and as plain data."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request

from latent_guard.errors import InputError
from latent_guard.files.documents import json_value
from latent_guard.serving.refusal import HTTPRefusalError, bad_request

MAX_BYTES = 1 << 20  # a prompt, or a few hundred concepts
_SECONDS = 30.0


async def json_body(request: Request) -> Any:
    """The plain value of a body of JSON; None where there is no body.

    Raises:
        HTTPRefusalError: it is too large (413), came too slowly (408), or is no JSON (400).
    """
    try:
        content = await asyncio.wait_for(_received(request), _SECONDS)
    except asyncio.TimeoutError:
        raise HTTPRefusalError(408, f"the body did not arrive within {_SECONDS:g} seconds", "body_too_slow") from None
    if not content:
        return None
    try:
        return json_value(content, "the body", any_text=True)
    except InputError as error:
        raise bad_request(error, code="invalid_json") from error


async def _received(request: Request) -> bytes:
    body = bytearray()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise HTTPRefusalError(400, "the client hung up before its body had arrived", "hung_up", "gone")
        body += message.get("body", b"")
        if len(body) > MAX_BYTES:
            raise HTTPRefusalError(
                413, f"the body has over {MAX_BYTES:,} bytes, and no more are read", "body_too_large"
            )
        if not message.get("more_body", False):
            return bytes(body)
