"""Denoisers that rest: the loop of a call whose images are blocked already goes on, but costs nothing any more."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from torch import Tensor

from latent_guard.errors import LatentGuardError
from latent_guard.pipelines.families import DENOISERS
from latent_guard.pipelines.hook import around

_DENOISERS = (*DENOISERS, "transformer_2", "unconditional_transformer")


@contextmanager
def resting(pipe: Any) -> Iterator[None]:
    """The block in which a pipeline's denoisers answer this thread as before to what is shaped as before.

    What they say is meaningless, so the latents that come of it must not be handed out. One that is compiled works on,
    as it would be compiled anew, and so does one that other code stands in front of.
    """
    parts = {id(part): part for name in _DENOISERS if (part := getattr(pipe, name, None)) is not None}
    with ExitStack() as stack:
        for denoiser in parts.values():
            if not _is_compiled(denoiser):
                with suppress(LatentGuardError):  # the images are blocked, however long it takes
                    stack.enter_context(around(denoiser, "forward", _Answers().give, methods_only=False))
        yield


def _is_compiled(module: Any) -> bool:
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


class _Answers:
    """A denoiser's answers, one for each set of shapes that it is given."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()  # others may use the same denoiser in a pipeline of their own
        self._known: dict[tuple[Any, ...], Any] = {}

    def give(self, denoiser: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        if threading.get_ident() != self._thread:
            return original(*arguments.args, **arguments.kwargs)
        shapes = tuple(_shapes([*arguments.args[1:], *arguments.kwargs.values()]))
        if shapes not in self._known:
            self._known[shapes] = original(*arguments.args, **arguments.kwargs)
        return self._known[shapes]


def _shapes(values: Any) -> Iterator[Any]:
    """The shapes of all tensors in some values, lists and dictionaries of them included."""
    for value in values:
        if isinstance(value, Tensor):
            yield value.shape
        elif isinstance(value, list | tuple):
            yield from _shapes(value)
        elif isinstance(value, dict):
            yield from _shapes(value.values())
