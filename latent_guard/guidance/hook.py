"""Stand between a pipeline and one of its methods, for as long as a `with` block lasts."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from latent_guard.errors import InputError, UnsupportedPipelineError

# (owner, its original method, the bound arguments of the call) -> what the call shall return
Around = Callable[[Any, Callable[..., Any], inspect.BoundArguments], Any]
_MARK = "_guarded_by_latent_guard"


@contextmanager
def around(owner: Any, name: str, replacement: Around) -> Iterator[None]:
    """Route the method `name` of one object through `replacement`; put everything back at the end, come what may.

    What stands in is a bound method with the original's signature: pipelines inspect it, and some deep-copy their
    scheduler, which must then call the copy's own method.
    """
    original = getattr(owner, name)
    function = getattr(original, "__func__", None)
    if function is None:
        raise UnsupportedPipelineError(f"{type(owner).__name__}.{name} was replaced by other code; restore it first")
    if hasattr(function, _MARK):
        raise InputError("this pipeline is already guarded; leave that `with` block first")
    signature = inspect.signature(function)

    @functools.wraps(function)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return replacement(self, function, signature.bind(self, *args, **kwargs))

    setattr(method, _MARK, True)
    own = vars(owner).get(name)
    setattr(owner, name, types.MethodType(method, owner))
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def around_step(scheduler: Any, replacement: Around) -> Any:
    """`around` a scheduler's `step`."""
    return around(scheduler, "step", replacement)
