"""The way of every moderation request: its body is read, its pictures are fetched, and all of it is judged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from latent_guard.errors import GuardError, InputError, LatentGuardError
from latent_guard.serving.moderation.assessment import Assessment
from latent_guard.serving.moderation.checker import ContentChecker
from latent_guard.serving.moderation.parts import Part, texts_of
from latent_guard.serving.moderation.pictures import picture_bytes
from latent_guard.serving.openai_error import openai_error

MAX_BODY = 32 << 20  # bytes: a picture of 20 MiB in base64, and some texts
BODY_SECONDS = 30.0  # in which a body has to arrive
MAX_WAITING = 256  # requests at a time, the one that is judged included
MAX_HELD = 256 << 20  # bytes of the bodies of all these, which lie in memory
NOT_CHECKED = "the guard could not judge this, so it does not count as allowed; the service's log says why"
_LOGGER = logging.getLogger(__name__)
Judged = Sequence[Sequence[Assessment]]  # of each group of parts


class TooLargeError(InputError):
    """A body of more bytes than are read."""


class BusyError(LatentGuardError):
    """More requests, or bytes of them, at once than there is room for."""


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


class Endpoint:
    """Answers requests of one schema: one at a time is read or judged, a few wait, the rest is asked to come again."""

    def __init__(self, schema: Schema, checker: Callable[[], ContentChecker], hosts: Collection[str]) -> None:
        self._schema, self._checker, self._hosts = schema, checker, frozenset(hosts)
        self._one_at_a_time = asyncio.Lock()
        self._waiting = self._held = 0

    async def respond(self, request: Request) -> Response:
        """The answer, or OpenAI's error body: 400 for bad input, 413, 429, and 503 where it could not be judged."""
        body = bytearray()
        self._waiting += 1
        try:
            return JSONResponse(await self._answered(request, body))
        except TooLargeError as error:
            return openai_error(413, error)
        except InputError as error:
            return openai_error(400, error, param=self._schema.param)
        except BusyError as error:
            return openai_error(429, error, headers={"Retry-After": "1"})
        except LatentGuardError as error:
            _LOGGER.error("a moderation request could not be judged: %s", error)
            return openai_error(503, NOT_CHECKED, code="could_not_check")
        finally:
            self._waiting -= 1
            self._held -= len(body)

    async def _answered(self, request: Request, body: bytearray) -> dict[str, Any]:
        if self._waiting > MAX_WAITING:
            raise BusyError("too many requests at once; try again soon")
        try:
            await asyncio.wait_for(self._receive(request, body), BODY_SECONDS)
        except asyncio.TimeoutError as error:
            raise InputError(f"the body did not arrive within {BODY_SECONDS:g} seconds; send it again") from error
        schema, checker = self._schema, self._checker()
        async with self._one_at_a_time:
            groups = await run_in_threadpool(schema.read, bytes(body))
        pictures = await run_in_threadpool(self._fetched, groups)
        async with self._one_at_a_time:
            judged = await run_in_threadpool(_judged, checker, groups, pictures)
        return schema.answer(judged, checker)

    async def _receive(self, request: Request, body: bytearray) -> None:
        """Add to a body what comes of it."""
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise InputError("the client hung up before its body had arrived")
            part = message.get("body", b"")
            body += part
            self._held += len(part)
            if len(body) > MAX_BODY:
                raise TooLargeError(f"the body has over {MAX_BODY:,} bytes, and no more are read")
            if self._held > MAX_HELD:
                raise BusyError("too many large requests at once; try again soon")
            more = message.get("more_body", False)

    def _fetched(self, groups: Sequence[Sequence[Part]]) -> list[bytes]:
        return [picture_bytes(part.content, self._hosts) for group in groups for part in group if part.kind == "image"]


def _judged(checker: ContentChecker, groups: Sequence[Sequence[Part]], pictures: Sequence[bytes]) -> Judged:
    """An assessment of each part, in the groups' order; any part without one is an error."""
    kinds = [[part.kind for part in group] for group in groups]
    texts = iter(checker.texts([text for group in groups for text in texts_of(group)]))
    images = iter(checker.images(pictures) if pictures else ())
    try:
        return [[next(texts if kind == "text" else images) for kind in group] for group in kinds]
    except StopIteration as error:
        raise GuardError("the guard judged fewer texts and images than there are") from error
