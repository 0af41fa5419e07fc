"""How a generation ends early: the guard failed, unless the caller asked by name to let it go on, or it blocked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from latent_guard.errors import BlockedError, GuardError
from latent_guard.guidance.pipelines import last_step
from latent_guard.guidance.schedulers import read_step
from latent_guard.guidance.verdict import Decision, Verdict

OnError = Literal["close", "open"]
ON_ERROR: tuple[OnError, ...] = ("close", "open")
_LOGGER = logging.getLogger(__name__)


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


class Opening:
    """Where the guard stands aside: from the step at which it failed to the end of that call, and no further."""

    def __init__(self) -> None:
        self._is_open = False
        self._last: Place | None = None

    def stands_aside(self, place: Place | None) -> bool:
        """True if a step, here, belongs to the call in which the guard failed. A step that cannot be read does."""
        if self._is_open and place is not None and self._last is not None and place.index != self._last.index + 1:
            self._is_open = False  # that call was given up, and this is another
        stands_aside = self._is_open
        if stands_aside:
            self.begin(place)
        return stands_aside

    def begin(self, place: Place | None) -> None:
        """Stand aside from here on."""
        self._last, self._is_open = place, place is None or not place.is_last


@dataclass(frozen=True)
class Place:
    """The index of a step in a pipeline's present call, and whether it is the last."""

    index: int
    is_last: bool

    @classmethod
    def of(cls, pipe: Any, timestep: Any) -> Place | None:
        """Where a pipeline is before a step; None if the guard cannot even read that."""
        try:
            index = read_step(pipe.scheduler, timestep).index
            return cls(index, index == last_step(pipe))
        except Exception:
            return None


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
