"""Stand between a pipeline and one of its methods, or its whole call, for as long as a ``with`` block lasts."""

from __future__ import annotations

import functools
import inspect
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from latent_guard.errors import InputError, UnsupportedPipelineError

# (owner, its original method, the bound arguments of the call) -> what the call shall return
Around = Callable[[Any, Callable[..., Any], inspect.BoundArguments], Any]
_MARK = "_latent_guard_hook"
# Of two threads that attach to one pipeline, the second must see what the first has put there.
_INSTALLING = threading.RLock()


@dataclass
class _Hook:
    """What a stand-in carries: the function behind it, and whether it still stands in.

    A copy of a scheduler made inside the block takes the stand-in along; once the block is over it only passes on.
    """

    function: Callable[..., Any]
    stand_in: Callable[..., Any] | None = None
    active: bool = True


@contextmanager
def around(owner: Any, name: str, replacement: Around, *, methods_only: bool = True) -> Iterator[Callable[[], bool]]:
    """Route the method ``name`` of one object through ``replacement``; put everything back at the end, always.

    What stands in is a bound method with the original's signature: pipelines inspect it, and some deep-copy their
    scheduler, which must then call the copy's own method. What other code put in its place meanwhile stays; the block
    is given a function that says whether nothing did.

    Raises:
        UnsupportedPipelineError: the method was replaced by something else than a method, and ``methods_only``.
        InputError: it is routed already.
    """
    with _INSTALLING:
        own = vars(owner).get(name)
        hook = _Hook(_function_of(owner, name, methods_only))
        method = types.MethodType(_standing_in(hook, replacement), owner)
        setattr(owner, name, method)
    try:
        yield lambda: vars(owner).get(name) is method
    finally:
        with _INSTALLING:
            hook.active = False
            if vars(owner).get(name) is method:
                if own is None or _hook_of(own) is not None:  # the hook of a block that is over is not put back
                    delattr(owner, name)
                else:
                    setattr(owner, name, own)


@contextmanager
def around_call(owner: Any, replacement: Around) -> Iterator[None]:
    """Route ``owner(...)`` through ``replacement``, which is told ``owner`` or a copy of it, for as long as a block."""
    stand_in = AroundCall(owner, replacement)
    stand_in.enter(replacement)
    try:
        yield
    finally:
        stand_in.remove()


def around_step(scheduler: Any, replacement: Around) -> AbstractContextManager[object]:
    """``around`` a scheduler's ``step``."""
    return around(scheduler, "step", replacement)


class AroundCall:
    """Routes ``pipe(...)``, or the call of anything, through ``replacement``, which may be exchanged, until ``remove``.

    Python looks ``__call__`` up on the class, so the pipeline is of a subclass of its own meanwhile, of the same name.
    """

    def __init__(self, pipe: Any, replacement: Around) -> None:
        """Take the place of the pipeline's call; of one whose block was never entered too.

        Raises:
            InputError: another one is at work.
        """
        with _INSTALLING:
            self.replacement = replacement
            self.entered = False
            self._pipe = pipe
            self._kind = _kind_behind(type(pipe))
            self._hook = _Hook(self._kind.__call__)
            pipe.__class__ = self._stand_in()

    def enter(self, replacement: Around) -> None:
        """Exchange the replacement, for the length of a block.

        Raises:
            InputError: somebody else attached to the pipeline meanwhile.
        """
        with _INSTALLING:
            if vars(type(self._pipe)).get(_MARK) is not self:
                raise InputError(
                    "somebody attached to this pipeline since; use one `with guard.attach(pipe)` at a time"
                )
            self.replacement = replacement
            self.entered = True

    def remove(self) -> None:
        """Give the pipeline its own class back."""
        with _INSTALLING:
            self._hook.active = False
            if vars(type(self._pipe)).get(_MARK) is self:
                self._pipe.__class__ = self._kind

    @property
    def is_at_work(self) -> bool:
        """True inside its block."""
        return self.entered and self._hook.active

    def _stand_in(self) -> type:
        kind = self._kind
        function = self._hook.function
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(pipe: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._hook.active:
                return function(pipe, *args, **kwargs)
            return self.replacement(pipe, function, signature.bind(pipe, *args, **kwargs))

        names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
        return type(kind.__name__, (kind,), {**names, "__call__": call, _MARK: self})


def _kind_behind(kind: type) -> type:
    """A pipeline's class, or that behind a stand-in which is not at work."""
    while isinstance(call := vars(kind).get(_MARK), AroundCall):
        if call.is_at_work:
            raise InputError(_ALREADY)
        (kind,) = kind.__bases__
    return kind


_ALREADY = "this pipeline is already guarded; leave that `with` block first"


def _standing_in(hook: _Hook, replacement: Around) -> Callable[..., Any]:
    function = hook.function
    signature = inspect.signature(function)

    @functools.wraps(function)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not hook.active:
            return function(self, *args, **kwargs)
        return replacement(self, function, signature.bind(self, *args, **kwargs))

    hook.stand_in = method
    setattr(method, _MARK, hook)
    return method


def _function_of(owner: Any, name: str, methods_only: bool) -> Callable[..., Any]:
    """The function behind a method, its owner as the first argument."""
    original = getattr(owner, name)
    function: Callable[..., Any] | None = getattr(original, "__func__", None)
    while (hook := _hook_of(function)) is not None:
        if hook.active:
            raise InputError(_ALREADY)
        function = hook.function
    if function is not None:
        return function
    if methods_only:
        raise UnsupportedPipelineError(f"{type(owner).__name__}.{name} was replaced by other code; restore it first")
    return _with_owner(original)


def _with_owner(original: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function that stands where a method did (a compiled one, say), as one that is given its owner."""

    def function(owner: Any, *args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    own = inspect.signature(function).parameters["owner"]
    of_original = inspect.signature(original)
    function.__signature__ = of_original.replace(parameters=[own, *of_original.parameters.values()])  # type: ignore[attr-defined]
    return function


def _hook_of(value: Any) -> _Hook | None:
    """The hook of a stand-in of ours, and not of what other code wrapped around one, its attributes copied."""
    function = getattr(value, "__func__", value)
    found = getattr(function, _MARK, None)
    return found if isinstance(found, _Hook) and found.stand_in is function else None
