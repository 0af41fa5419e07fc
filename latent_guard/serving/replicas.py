"""Replicas of a service on Ray Serve, and the front that clients reach: it sends to another replica what one left.

A replica that dies takes with it what it was drawing. Nothing of that was handed out: an answer leaves a replica whole
and only then, after its verdicts are in the audit log. So the front may ask another replica the same again, and a
client whose request was accepted gets its verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Request, Response

from latent_guard.serving.around_requests import App
from latent_guard.serving.body import Bodies
from latent_guard.serving.forwarded import Answered, Asked, answered
from latent_guard.serving.openai_error import answer_refusal
from latent_guard.serving.refusal import HTTPRefusalError, unavailable

REPLICAS_ASKED = 3  # one after another, each having died over the request, before it is given up
MAX_BODY = 64 * 2**20  # bytes of a request
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"date", b"server"})


class Replica:
    """One process with one pipeline, and the service's application."""

    def __init__(self, begin: Callable[[], tuple[App, Callable[[], object]]]) -> None:
        self._app, self._stop = begin()

    async def answer(self, asked: Asked) -> Answered:
        """The answer of this replica's service."""
        return await answered(self._app, asked)

    def __del__(self) -> None:
        """Finish what was accepted; Ray Serve waits for it."""
        if "_stop" in vars(self):  # else it could not begin
            self._stop()


class Front:
    """What a client reaches."""

    def __init__(self, replicas: Any) -> None:
        self._replicas = replicas
        self._bodies = Bodies()

    async def __call__(self, request: Request) -> Response:
        """The answer of the first replica that lives to give one; 503 if none does."""
        try:
            async with self._bodies.body(request, MAX_BODY) as body:
                asked = _asked(request, bytes(body))
            answer = await self._answer(asked)
        except HTTPRefusalError as refusal:
            return await answer_refusal(request, refusal)
        response = Response(answer.body, answer.status)
        response.raw_headers += [pair for pair in answer.headers if pair[0].lower() not in _HOP_BY_HOP]
        return response

    async def _answer(self, asked: Asked) -> Answered:
        from ray.exceptions import RayActorError
        from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

        for _ in range(REPLICAS_ASKED):
            try:
                answer: Answered = await self._replicas.answer.remote(asked)
            except RayActorError:
                continue
            except (BackPressureError, DeploymentUnavailableError):
                message = "no replica is free; try again later"
                raise HTTPRefusalError(503, message, "unavailable", retry_after=1) from None
            return answer
        raise unavailable("replicas died over this request; no image was handed out", "unavailable")


def _asked(request: Request, body: bytes) -> Asked:
    client = (request.client.host, request.client.port) if request.client else None
    query = request.scope["query_string"]
    return Asked(request.method, request.url.path, query, tuple(request.headers.raw), body, client)


def deployed(
    begin: Callable[[], tuple[App, Callable[[], object]]], replica: dict[str, Any], front: dict[str, Any]
) -> Any:
    """The application that ``serve run`` takes: a front, and replicas of a service.

    Args:
        begin: makes an application, in each replica's process, that is ready to answer, and what stops it.
        replica: options of Ray Serve for the replicas.
        front: the same for the front.
    """
    from ray import serve

    replicas = serve.deployment(name="replica", **replica)(Replica).bind(begin)
    return serve.deployment(name="front", **front)(Front).bind(replicas)
