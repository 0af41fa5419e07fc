"""Stand between a pipeline and its scheduler's `step`, for as long as a `with` block lasts."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from latent_guard.errors import InputError, UnsupportedPipelineError

# (scheduler, its original step, the bound arguments of the call) -> what the call shall return
Around = Callable[[Any, Callable[..., Any], inspect.BoundArguments], Any]
_MARK = "_guarded_by_latent_guard"


@contextmanager
def around_step(scheduler: Any, around: Around) -> Iterator[None]:
    """Route `scheduler.step` through `around`; put everything back at the end, whatever happens.

    The replacement is a bound method with the original's signature: pipelines inspect it, and some
    deep-copy their scheduler, which must then call the copy's own `step`.
    """
    original = scheduler.step
    function = getattr(original, "__func__", None)
    if function is None:
        raise UnsupportedPipelineError(f"{type(scheduler).__name__}.step was replaced by other code; restore it first")
    if hasattr(function, _MARK):
        raise InputError("this pipeline is already guarded; leave that `with` block first")
    signature = inspect.signature(function)

    @functools.wraps(function)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind(self, *args, **kwargs)
        return around(self, function, arguments)

    setattr(step, _MARK, True)
    own = vars(scheduler).get("step")
    scheduler.step = types.MethodType(step, scheduler)
    try:
        yield
    finally:
        if own is None:
            del scheduler.step
        else:
            scheduler.step = own
