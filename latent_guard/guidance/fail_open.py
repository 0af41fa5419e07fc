"""How a generation ends early: the guard failed, unless the caller asked by name to let it go on, or it blocked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from latent_guard.errors import BlockedError, GuardError
from latent_guard.guidance.verdict import Decision, Verdict

OnError = Literal["close", "open"]
ON_ERROR: tuple[OnError, ...] = ("close", "open")
_LOGGER = logging.getLogger(__name__)


class RefusalError(GuardError):
    """What the guard refuses though nothing in it failed, so that `on_error="open"` does not apply to it."""


@contextmanager
def failing_closed() -> Iterator[None]:
    """Plain tensors without gradients inside; any failure becomes a `GuardError`."""
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield
    except (GuardError, BlockedError):
        raise
    except Exception as error:
        raise GuardError(
            f"the guard failed and stopped the generation ({type(error).__name__}: {error}); no image was handed out"
        ) from error


def let_through(error: GuardError, first_image: int, images: int) -> list[Verdict]:
    """Log that these images go on unguarded, because the caller asked for that, and the verdicts that say so."""
    log_open(error, f"{images} images go on unguarded from here")
    return [Verdict(first_image + image, Decision.UNCHECKED, None, {}, {}) for image in range(images)]


def log_open(error: GuardError, what: str) -> None:
    """Log what the guard leaves undone because the caller asked for that."""
    _LOGGER.error('on_error="open": %s (%s)', what, error, exc_info=error.__cause__ or error)


def blocked(verdicts: list[Verdict]) -> BlockedError:
    """The exception that ends a generation of which images were withheld."""
    parts = [
        f"image {v.image} ({v.reason.category}: {v.reason.score:.2f} over {v.reason.threshold:.2f})"
        for v in verdicts
        if v.decision is Decision.BLOCKED and v.reason is not None
    ]
    return BlockedError(f"withheld {', '.join(parts)}; change the prompt or the seed")
