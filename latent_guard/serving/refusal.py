"""Why a request is not answered with images: a status and a code, apart from any web framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from latent_guard.errors import LatentGuardError


@dataclass(eq=False)
class HTTPRefusalError(LatentGuardError):
    """What a client is told.

    Attributes:
        status: of HTTP.
        message: one line.
        code: for programs.
        outcome: under which it is counted and logged.
        param: the field of the body that is wrong.
        retry_after: seconds.
        more: further members of the error's body, ``type`` among them where it is not the status's own.
    """

    status: int
    message: str
    code: str
    outcome: str = "refused"
    param: str | None = None
    retry_after: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


FAILED = "the service failed; its log says why"


def bad_request(message: object, param: str | None = None, code: str = "invalid_value") -> HTTPRefusalError:
    """What the client has to mend."""
    return HTTPRefusalError(400, str(message), code, param=param)


def busy(seconds: int) -> HTTPRefusalError:
    """More waits than there is room for."""
    return HTTPRefusalError(429, "too many requests wait; try again later", "queue_full", "busy", retry_after=seconds)


def hung_up() -> HTTPRefusalError:
    """Nobody is there to read an answer."""
    return HTTPRefusalError(499, "the client hung up", "hung_up", "gone")


def unavailable(message: str, code: str, outcome: str = "unavailable") -> HTTPRefusalError:
    """The service cannot draw now, or its guard could not check what it drew."""
    return HTTPRefusalError(503, message, code, outcome)


def too_late(seconds: float) -> HTTPRefusalError:
    """The deadline has passed."""
    return HTTPRefusalError(504, f"no image was ready within {seconds:g} seconds", "deadline_exceeded", "expired")


def failed() -> HTTPRefusalError:
    """Something is wrong with the service, which its log tells and its client is not told."""
    return HTTPRefusalError(500, FAILED, "internal_error", "error")
