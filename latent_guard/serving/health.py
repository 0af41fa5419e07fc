"""``/health/live``, ``/health/ready`` and ``/metrics``: whether it runs, what really guards, and what it counted."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from latent_guard.errors import one_line
from latent_guard.serving.metrics import CONTENT_TYPE
from latent_guard.serving.refusal import HTTPRefusalError
from latent_guard.serving.service import Service


def health_router(service: Service) -> APIRouter:
    """A router with the three paths, none of which asks for a key."""
    router = APIRouter()

    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    async def ready() -> JSONResponse:
        """The posture in force, as a warm-up image found it; 503 before that, and while the service is stopping."""
        try:
            in_force = service.in_force
        except HTTPRefusalError:
            reason = "the warm-up is not over" if service.failed is None else one_line(service.failed, 200)
            return JSONResponse({"ready": False, "reason": reason}, 503)
        if service.queue.closed:
            return JSONResponse({"ready": False, "reason": "the service is stopping"}, 503)
        queue = {"waiting": len(service.queue), "limit": service.settings.queue}
        return JSONResponse({"ready": True, **in_force.posture, "size": service.own_size, "queue": queue})

    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(service.metrics.text(len(service.queue)), media_type=CONTENT_TYPE)

    routes: dict[str, Any] = {"/health/live": live, "/health/ready": ready, "/metrics": metrics}
    for path, answered in routes.items():
        router.add_api_route(path, answered, methods=["GET"], response_model=None)
    return router
