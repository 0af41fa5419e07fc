"""The HTTP application of a service: its routes, and OpenAI's error body whatever is wrong."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from latent_guard.serving.admin import admin_router
from latent_guard.serving.around_requests import App, AroundRequests
from latent_guard.serving.body import Bodies
from latent_guard.serving.checker_in_force import CheckerInForce
from latent_guard.serving.health import health_router
from latent_guard.serving.images import images_router
from latent_guard.serving.moderation.category_table import CategoryTable
from latent_guard.serving.moderation.endpoint import Moderation
from latent_guard.serving.moderation.guardrail import guardrail_router
from latent_guard.serving.moderation.moderations import moderations_router
from latent_guard.serving.openai_error import answer_refusal, openai_error
from latent_guard.serving.refusal import FAILED, HTTPRefusalError
from latent_guard.serving.reloading import Reloading
from latent_guard.serving.service import Service


def create_app(
    service: Service,
    reloading: Reloading | None = None,
    hosts: Collection[str] = (),
    categories: CategoryTable | None = None,
) -> App:
    """The application, as ASGI has it.

    Args:
        service: what draws; whoever starts it stops it.
        reloading: puts other banks and policies in force; by default one without a watched folder.
        hosts: whose pictures the moderation endpoints fetch; by default nobody's.
        categories: which of the bank's categories stand for OpenAI's; by default the table that ships.

    Raises:
        InputError: the table of moderation categories that ships cannot be read.
    """
    app = FastAPI(title="Latent Guard", docs_url=None, redoc_url=None, openapi_url=None)
    bodies = Bodies()
    moderation = Moderation(CheckerInForce(service), hosts, bodies, service.metrics)
    for router in (
        images_router(service, bodies),
        moderations_router(moderation, categories),
        guardrail_router(moderation),
        health_router(service),
        admin_router(reloading or Reloading(service), bodies),
    ):
        app.include_router(router)
    app.add_exception_handler(HTTPRefusalError, answer_refusal)
    app.add_exception_handler(Exception, _failed)
    for status in (404, 405):
        app.add_exception_handler(status, _not_here)
    return AroundRequests(cast(App, app), service.settings)


async def _failed(_: Request, error: Exception) -> JSONResponse:
    """What is raised goes on to ``AroundRequests``, which logs it."""
    return openai_error(500, FAILED, code="internal_error")


async def _not_here(request: Request, error: Exception) -> JSONResponse:
    status = getattr(error, "status_code", 404)
    said = "no such address" if status == 404 else "this address does not take such a request"
    return openai_error(status, f"{said}: {request.method} {request.url.path[:200]}", code="unknown_url")
