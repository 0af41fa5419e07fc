"""The review page's server, on this machine alone: whoever does not know the address's random part gets nothing.

A web page of elsewhere that has its own name lead here (DNS rebinding) sends that name as the host, and is refused.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import HTMLResponse, JSONResponse

from latent_guard.errors import LatentGuardError
from latent_guard.files.csv_text import clean
from latent_guard.files.png import png_bytes
from latent_guard.review.decisions import Choice
from latent_guard.review.page import review_page, said_of
from latent_guard.review.queue import ReviewQueue

HOST = "127.0.0.1"
_HEADERS = {
    "Cache-Control": "no-store",  # withheld images must not lie in a browser's cache
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def review_app(queue: ReviewQueue, token: str, reviewer: str = "") -> FastAPI:
    """The page under ``/TOKEN/``, with its images and decisions.

    Args:
        queue: what is shown.
        token: the part of the address that nobody guesses.
        reviewer: whose decisions they are.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.include_router(_routes(queue, token, reviewer))

    @app.middleware("http")
    async def with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await call_next(request)
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    @app.exception_handler(LatentGuardError)
    async def refused(request: Request, error: LatentGuardError) -> JSONResponse:
        return JSONResponse({"detail": clean(error)}, status_code=404)

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False)
    return app


def _routes(queue: ReviewQueue, token: str, reviewer: str) -> APIRouter:
    def known(given: str) -> None:
        if not secrets.compare_digest(given.encode(), token.encode()):
            raise HTTPException(404)

    routes = APIRouter(prefix="/{given}", dependencies=[Depends(known)])

    @routes.get("/")
    def page() -> HTMLResponse:
        shown = review_page(list(queue.items()), queue.log.latest()[1])
        return HTMLResponse(shown.html, headers={"Content-Security-Policy": shown.policy})

    @routes.get("/images/{item}.png")
    def image(item: str) -> Response:
        # Written anew: nothing that somebody sealed reaches the browser's own decoders as it was.
        return Response(png_bytes(queue.open(item).picture(), compress_level=1), media_type="image/png")

    @routes.post("/decisions")
    def decide(id: Annotated[str, Body()], decision: Annotated[Choice, Body()]) -> dict[str, str]:
        return {"said": said_of(queue.decide(id, decision, reviewer))}

    return routes


class ReviewServer:
    """A review page on a free port; its address is known before it answers, and it answers from then on."""

    def __init__(self, queue: ReviewQueue, reviewer: str = "") -> None:
        token = secrets.token_urlsafe(32)
        self._socket = socket.create_server((HOST, 0))
        self.address = f"http://{HOST}:{self._socket.getsockname()[1]}/{token}/"
        settings: dict[str, Any] = {"access_log": False, "log_level": "warning"}  # the log would hold the token
        self._server = uvicorn.Server(uvicorn.Config(review_app(queue, token, reviewer), **settings))

    def run(self) -> None:
        """Answer until a signal ends it."""
        with self._socket:
            self._server.run(sockets=[self._socket])
