"""What becomes of a failure of the guard: the generation ends, unless the caller asked by name to let it go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from latent_guard.errors import BlockedError, GuardError, InputError

OnError = Literal["close", "open"]
ON_ERROR: tuple[OnError, ...] = ("close", "open")
_LOGGER = logging.getLogger(__name__)


class RefusalError(GuardError):
    """What the guard refuses though nothing in it failed, so that ``on_error="open"`` does not apply to it."""


def on_error_of(asked: OnError | None, by_policy: OnError) -> OnError:
    """What holds for a call: what it ``asked`` for, or else what its policy says; an open one is logged.

    Raises:
        InputError: it is neither "close" nor "open".
    """
    found = by_policy if asked is None else asked
    if found not in ON_ERROR:
        raise InputError(f'on_error must be "close" or "open", got {found!r}')
    if found == "open":
        whose = "the policy" if asked is None else "the call"
        _LOGGER.warning('on_error="open" by %s: should the guard fail, images go on unguarded', whose)
    return found


@contextmanager
def guarded(
    on_error: OnError = "close", bypassed: str = "", bypass: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """The guard's own work, on plain tensors without gradients: any failure becomes a ``GuardError``.

    Args:
        on_error: with "open" a failure is logged, ``bypass`` is called, and the block is left without an error.
        bypassed: what the guard then leaves undone, for the log.
        bypass: does what leaving it undone needs.
    """
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield
    except (BlockedError, RefusalError):
        raise
    except Exception as error:
        if on_error == "open":
            _LOGGER.error('on_error="open": %s (%s)', bypassed, _named(error), exc_info=error.__cause__ or error)
            bypass()
        elif isinstance(error, GuardError):
            raise
        else:
            raise GuardError(_said(error)) from error


def _said(error: Exception) -> str:
    if isinstance(error, GuardError):
        return str(error)
    return f"the guard failed and stopped the generation ({_named(error)}); no image was handed out"


def _named(error: Exception) -> str:
    return str(error) if isinstance(error, GuardError) else f"{type(error).__name__}: {error}"
