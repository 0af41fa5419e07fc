"""What stands around every request: its id, its key, its line in the log, and that no fault shows its insides."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from uuid import uuid4

from fastapi.responses import JSONResponse

from latent_guard.serving.openai_error import openai_error
from latent_guard.serving.refusal import FAILED
from latent_guard.serving.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

ABOUT = "latent_guard"  # where a request's scope holds what its log line says
ACCESS = logging.getLogger("latent_guard.access")
_LOGGER = logging.getLogger(__name__)
_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_WITH_KEY, _OF_ADMIN = ("/v1/", "/beta/"), "/admin/"


class AroundRequests:
    """An ASGI application around another."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._keys = [_digest(key) for key in settings.keys]
        self._admin = [_digest(settings.admin_token)] if settings.admin_token else []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # a web socket is closed
        began = time.monotonic()
        about = scope[ABOUT] = {"id": uuid4().hex}
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (*_HEADERS, (b"x-request-id", about["id"].encode()))
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        try:
            refused = self._refused(scope)
            await (refused or self._app)(scope, receive, sending)
        except Exception as error:
            _LOGGER.error("request %s failed (%s)", about["id"], type(error).__name__, exc_info=error)
            if not status:
                await openai_error(500, FAILED, code="internal_error")(scope, receive, sending)
        finally:
            _log(scope, status, time.monotonic() - began)

    def _refused(self, scope: Message) -> JSONResponse | None:
        """The answer to a request without the key that its path asks for."""
        path = scope["path"]
        wanted: Sequence[bytes] | None = None
        if path.startswith(_OF_ADMIN):
            wanted = self._admin
        elif path.startswith(_WITH_KEY) and self._keys:
            wanted = self._keys
        if wanted is None or _has_one_of(wanted, scope["headers"]):
            return None
        headers = {"WWW-Authenticate": "Bearer"}
        return openai_error(401, "the API key is missing or wrong", code="invalid_api_key", headers=headers)


def _has_one_of(wanted: Sequence[bytes], headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """True if a token, of which there are two at the most, is one of those; the time it takes tells nothing of them."""
    tokens = [value[7:] for name, value in headers if name == b"authorization" and value[:7].lower() == b"bearer "]
    tokens += [value for name, value in headers if name == b"x-api-key"]  # as LiteLLM sends it
    given = [hashlib.sha256(token.strip()).digest() for token in tokens]
    equal = [hmac.compare_digest(token, one) for token in given for one in wanted]  # all of them, whichever is found
    return len(given) <= 2 and any(equal)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _log(scope: Message, status: int, seconds: float) -> None:
    line = {"event": "request", "method": scope["method"], "path": scope["path"][:200], "status": status}
    ACCESS.info("%s", json.dumps({**line, "seconds": round(seconds, 3), **scope[ABOUT]}))
