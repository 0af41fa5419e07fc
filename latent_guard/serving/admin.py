"""``POST /admin/reload``: another bank or policy, or a new concept in words, while the service runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from latent_guard.building import build
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.errors import LatentGuardError
from latent_guard.serving.body import Bodies
from latent_guard.serving.in_force import InForce
from latent_guard.serving.refusal import HTTPRefusalError, bad_request
from latent_guard.serving.reloading import Reloading

_WHERE = "the body"


@dataclass(frozen=True)
class _Body:
    """Nothing of it: the watched folder is read again; ``bank``: a folder in it; the rest: a concept."""

    bank: str | None = None
    category: str | None = None
    prompts: tuple[str, ...] = ()
    templates: tuple[str, ...] = ("{}", "a photo of {}", "a drawing of {}")


def admin_router(reloading: Reloading, bodies: Bodies) -> APIRouter:
    """A router with the one path; who may call it is ``AroundRequests``' to say."""
    router = APIRouter()

    async def reload(request: Request) -> dict[str, Any]:
        """Put it in force; 400, with the reason, if that cannot be done, and what was in force still is."""
        body = await bodies.json(request, any_text=False)
        try:
            in_force = await run_in_threadpool(_change(reloading, build(_Body, body or {}, _WHERE)))
        except HTTPRefusalError:
            raise
        except LatentGuardError as error:
            raise bad_request(error, code="not_reloaded") from error
        return {"reloaded": True, **in_force.posture}

    router.add_api_route("/admin/reload", reload, methods=["POST"], response_model=None)
    return router


def _change(reloading: Reloading, body: _Body) -> Callable[[], InForce]:
    """What a body asks for."""
    if body.bank is not None:
        name = body.bank
        return lambda: reloading.take_bank(name)
    if body.category is None and not body.prompts:
        return reloading.read_again
    category = (body.category or "").strip()
    if not category:
        raise bad_request(f"{_WHERE}: name the category that the prompts belong to", "category")
    texts = (body.templates, body.prompts, ())
    prompts = PromptSet(f"added: {category}", category, "added while the service ran", 1, "unknown", *texts)
    return lambda: reloading.add_concept(prompts)
