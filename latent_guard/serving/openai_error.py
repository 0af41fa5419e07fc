"""OpenAI's error body, which its clients turn into their exceptions."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import JSONResponse

from latent_guard.errors import one_line

_TYPES = {400: "invalid_request_error", 413: "invalid_request_error", 429: "rate_limit_error"}


def openai_error(
    status: int,
    message: object,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An answer with an HTTP status of 400 or more; the message becomes one printable line."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    body = {"error": {"message": one_line(message), "type": kind, "param": param, "code": code}}
    return JSONResponse(body, status, dict(headers or {}))
