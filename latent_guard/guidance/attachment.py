"""The `with` block in which a pipeline is guarded; outside of it, an attached pipeline makes no image at all."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any

from latent_guard.errors import GuardError, InputError
from latent_guard.guidance.watch import Watch
from latent_guard.pipelines.hook import AroundCall


class Attachment(AbstractContextManager[Watch]):
    """What `guard.attach(pipe)` gives: `with` enters it, once.

    Until then the pipeline's call is an error, for whoever attached a guard and forgot the `with` would take its images
    for guarded ones; the next attachment, once it is left, ends that too.
    """

    def __init__(self, watch: Watch) -> None:
        """Raises InputError if the pipeline is guarded already."""
        self._watch, self._stack = watch, ExitStack()
        self._around_call = AroundCall(watch.pipe, _not_entered)

    def __enter__(self) -> Watch:
        if self._around_call.entered:
            raise InputError("this attachment was entered before; attach the guard again")
        self._around_call.enter(self._watch.call)
        with ExitStack() as stack:
            stack.callback(self._around_call.remove)
            stack.enter_context(self._watch.installed())
            self._stack = stack.pop_all()
        return self._watch

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)


def _not_entered(pipe: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
    raise GuardError(
        "a guard was attached to this pipeline, but its block was never entered, so nothing would be guarded; "
        "write `with guard.attach(pipe) as watch: pipe(...)`"
    )
