"""OpenAI's error body, which its clients turn into their exceptions: of any error, and of a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from fastapi import Request
from fastapi.responses import JSONResponse

from latent_guard.errors import one_line
from latent_guard.serving.refusal import HTTPRefusalError

_TYPES = {400: "invalid_request_error", 413: "invalid_request_error", 429: "rate_limit_error"}


def openai_error(
    status: int,
    message: object,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """An answer with an HTTP status of 400 or more; the message becomes one printable line, ``more`` joins the body."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    error = {"message": one_line(message), "type": kind, "param": param, "code": code, **(more or {})}
    return JSONResponse({"error": error}, status, dict(headers or {}))


async def answer_refusal(_: Request, error: Exception) -> JSONResponse:
    """The answer to a request that ended with an ``HTTPRefusalError``; a handler of exceptions, as FastAPI has it."""
    refusal = cast(HTTPRefusalError, error)
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    about = {"param": refusal.param, "code": refusal.code}
    return openai_error(refusal.status, refusal, headers=headers, more=refusal.more, **about)
