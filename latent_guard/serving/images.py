"""``POST /v1/images/generations``: OpenAI's schema, drawn under the guard in force."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from latent_guard.serving.around_requests import ABOUT
from latent_guard.serving.body import Bodies
from latent_guard.serving.image_answer import answer, decision_of
from latent_guard.serving.image_request import ImageRequest
from latent_guard.serving.jobs import Drawn, Job
from latent_guard.serving.refusal import HTTPRefusalError, hung_up, too_late
from latent_guard.serving.service import Service

PATH = "/v1/images/generations"


def images_router(service: Service, bodies: Bodies) -> APIRouter:
    """A router with the one path."""
    router = APIRouter()

    async def generations(request: Request) -> dict[str, Any]:
        """Draw images; what is withheld, and why, stands in the extension ``latent_guard``."""
        began = time.monotonic()
        about, outcome, policy = request.scope[ABOUT], "error", ""
        try:
            policy = service.in_force.guard.policies.name
            asked = ImageRequest.read(await bodies.json(request, any_text=True))
            job = _job(service, asked, about["id"])
            about |= {"images": job.images, **({"user": asked.user} if asked.user else {})}
            if service.settings.log_prompts:
                about["prompt"] = asked.prompt
            service.submit(job)
            drawn = await _drawn(service, job, request)
            outcome, policy = decision_of(drawn), drawn.by.guard.policies.name
            return await run_in_threadpool(answer, asked, job, drawn, service.settings.on_block)
        except HTTPRefusalError as refusal:
            outcome = refusal.outcome if outcome == "error" else outcome
            raise
        finally:
            about["decision"] = outcome
            service.metrics.request(outcome, policy, time.monotonic() - began)

    router.add_api_route(PATH, generations, methods=["POST"], response_model=None)
    return router


def _job(service: Service, asked: ImageRequest, request_id: str) -> Job:
    shape, seed = asked.within(service)
    expires = time.monotonic() + service.settings.deadline
    return Job(request_id, asked.prompt, asked.images, seed, shape, expires, asked.user or "")


async def _drawn(service: Service, job: Job, request: Request) -> Drawn:
    """What came of a job.

    Raises:
        HTTPRefusalError: the deadline has passed, or the client hung up, or whatever the job failed with.
    """
    done = asyncio.wrap_future(job.future)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        waiting: set[asyncio.Future[Any]] = {done, gone}
        await asyncio.wait(waiting, timeout=job.seconds_left, return_when=asyncio.FIRST_COMPLETED)
        if done.done() and not done.cancelled():
            return done.result()
        if gone.done():
            raise hung_up()
        raise too_late(service.settings.deadline)
    finally:
        job.gone = True
        gone.cancel()
        done.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
