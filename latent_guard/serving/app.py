"""The HTTP application of a service: its routes, and OpenAI's error body whatever is wrong."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from latent_guard.serving.admin import admin_router
from latent_guard.serving.around_requests import App, AroundRequests
from latent_guard.serving.checker_in_force import CheckerInForce
from latent_guard.serving.health import health_router
from latent_guard.serving.images import images_router
from latent_guard.serving.moderation.guardrail import guardrail_router
from latent_guard.serving.moderation.moderations import moderations_router
from latent_guard.serving.openai_error import openai_error
from latent_guard.serving.refusal import FAILED, HTTPRefusalError
from latent_guard.serving.reloading import Reloading
from latent_guard.serving.service import Service


def create_app(service: Service, reloading: Reloading | None = None, hosts: Collection[str] = ()) -> App:
    """The application, as ASGI has it.

    Args:
        service: what draws; whoever starts it stops it.
        reloading: puts other banks and policies in force; by default one without a watched folder.
        hosts: whose pictures the moderation endpoints fetch; by default nobody's.

    Raises:
        InputError: the table of moderation categories that ships cannot be read.
    """
    app = FastAPI(title="Latent Guard", docs_url=None, redoc_url=None, openapi_url=None)
    checker = CheckerInForce(service)
    for router in (
        images_router(service),
        moderations_router(checker, hosts=hosts),
        guardrail_router(checker, hosts),
        health_router(service),
        admin_router(reloading or Reloading(service)),
    ):
        app.include_router(router)
    app.add_exception_handler(HTTPRefusalError, _refused)
    app.add_exception_handler(Exception, _failed)
    for status in (404, 405):
        app.add_exception_handler(status, _not_here)
    return AroundRequests(cast(App, app), service.settings)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    refusal = cast(HTTPRefusalError, error)
    seconds = refusal.retry_after
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    answer = openai_error(refusal.status, refusal, param=refusal.param, code=refusal.code, headers=headers)
    if refusal.more:
        body = {"message": str(refusal), "type": "", "param": refusal.param, "code": refusal.code, **refusal.more}
        return JSONResponse({"error": body}, refusal.status)
    return answer


async def _failed(_: Request, error: Exception) -> JSONResponse:
    """What is raised goes on to ``AroundRequests``, which logs it."""
    return openai_error(500, FAILED, code="internal_error")


async def _not_here(request: Request, error: Exception) -> JSONResponse:
    status = getattr(error, "status_code", 404)
    said = "no such address" if status == 404 else "this address does not take such a request"
    return openai_error(status, f"{said}: {request.method} {request.url.path[:200]}", code="unknown_url")
