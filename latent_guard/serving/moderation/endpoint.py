"""The way of every moderation request: its body is read, its pictures are fetched, and all of it is judged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from latent_guard.errors import GuardError, InputError, LatentGuardError
from latent_guard.serving.body import Bodies
from latent_guard.serving.metrics import Metrics
from latent_guard.serving.moderation.assessment import Assessment
from latent_guard.serving.moderation.checker import ContentChecker
from latent_guard.serving.moderation.parts import Part, texts_of
from latent_guard.serving.moderation.pictures import all_bytes
from latent_guard.serving.refusal import HTTPRefusalError, bad_request, hung_up, unavailable

MAX_BODY = 32 << 20  # bytes: a picture of 20 MiB in base64, and some texts
_MOST_WITH_PICTURES = 4  # requests whose pictures lie in memory, or are being fetched
NOT_CHECKED = "the guard could not judge this, so it does not count as allowed; the service's log says why"
_LOGGER = logging.getLogger(__name__)
Judged = Sequence[Sequence[Assessment]]  # of each group of parts


@dataclass(frozen=True)
class Schema:
    """What tells two endpoints apart.

    Attributes:
        read: the groups of parts that a body asks to be judged together; raises ``InputError``.
        answer: the plain data of the answer.
        param: the field that errors name; None for none.
    """

    read: Callable[[bytes], list[list[Part]]]
    answer: Callable[[Judged, ContentChecker], dict[str, Any]]
    param: str | None = None


class Moderation:
    """What the moderation endpoints of a process share: one request at a time is read or judged, a few wait."""

    def __init__(
        self,
        checker: Callable[[], ContentChecker],
        hosts: Collection[str] = (),
        bodies: Bodies | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """
        Args:
            checker: gives the checker in force; called once a request.
            hosts: whose pictures are fetched by their https URLs; of all others they must come with the request.
            bodies: reads the bodies of all the process's requests; by default of these alone.
            metrics: counts what is judged; by default nobody sees that.
        """
        self._checker, self._hosts = checker, frozenset(hosts)
        self._bodies, self._metrics = bodies or Bodies(), metrics or Metrics()
        self._one_at_a_time = asyncio.Lock()
        self._with_pictures = asyncio.Semaphore(_MOST_WITH_PICTURES)

    async def answer(self, request: Request, schema: Schema) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            HTTPRefusalError: what ``Bodies.body`` says, bad input (400), or it could not be judged (503).
        """
        async with self._bodies.body(request, MAX_BODY) as body:
            try:
                return await self._answer(request, schema, bytes(body))
            except HTTPRefusalError:
                raise
            except InputError as error:
                raise bad_request(error, schema.param) from error
            except LatentGuardError as error:
                self._metrics.fault("moderation")
                _LOGGER.error("a moderation request could not be judged: %s", error, exc_info=error)
                raise unavailable(NOT_CHECKED, "could_not_check", "guard_error") from error

    async def _answer(self, request: Request, schema: Schema, body: bytes) -> dict[str, Any]:
        checker = self._checker()
        async with self._one_at_a_time:
            await _require_client(request)
            groups = await run_in_threadpool(schema.read, body)
        given = [part.content for group in groups for part in group if part.kind == "image"]
        async with self._with_pictures if given else nullcontext():
            await _require_client(request)
            pictures = await run_in_threadpool(all_bytes, given, self._hosts)
            async with self._one_at_a_time:
                await _require_client(request)
                judged = await run_in_threadpool(_judged, checker, groups, pictures)
        self._metrics.moderated(part.flagged for group in judged for part in group)
        return schema.answer(judged, checker)


async def _require_client(request: Request) -> None:
    """Do nothing more for a client that hung up while its request waited."""
    if await request.is_disconnected():
        raise hung_up()


def _judged(checker: ContentChecker, groups: Sequence[Sequence[Part]], pictures: Sequence[bytes]) -> Judged:
    """An assessment of each part, in the groups' order; any part without one is an error."""
    kinds = [[part.kind for part in group] for group in groups]
    texts = iter(checker.texts([text for group in groups for text in texts_of(group)]))
    images = iter(checker.images(pictures) if pictures else ())
    try:
        return [[next(texts if kind == "text" else images) for kind in group] for group in kinds]
    except StopIteration as error:
        raise GuardError("the guard judged fewer texts and images than there are") from error
