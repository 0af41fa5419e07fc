"""Models that always compute batches of one shape, so that an image does not depend on what it is drawn together with.

A matrix product of eight rows may round otherwise than one of two, as libraries choose another kernel for it. In
batches of one shape a row's bits depend neither on its place nor on its neighbours, so a request that is drawn with
others is, bit for bit, the same request alone. The price is that a lone one costs a whole batch: little on
a GPU, and on a CPU as much as so many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


class FixedRows:
    """A function of a batch, called with ``rows`` rows at a time, the last of which is repeated if need be.

    Rows are the first dimension of its first tensor, and of each tensor that has as many; all else is shared. With
    ``rows`` None the function is called as it is.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.rows: int | None = None
        self.seen = 0  # rows of the latest call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.seen = count = _rows_of((args, kwargs))
        rows = self.rows  # another thread may set it meanwhile
        if rows is None or count == 0:
            return self.function(*args, **kwargs)
        parts = [self._part(args, kwargs, first, count, rows) for first in range(0, count, rows)]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _part(self, args: Any, kwargs: Any, first: int, count: int, rows: int) -> Any:
        index = torch.arange(first, first + rows).clamp(max=count - 1)

        def chosen(tensor: Tensor) -> Tensor:
            return tensor[index.to(tensor.device)] if tensor.ndim and len(tensor) == count else tensor

        def kept(tensor: Tensor) -> Tensor:
            return tensor[: count - first] if tensor.ndim and len(tensor) == rows else tensor

        own_args, own_kwargs = _mapped((args, kwargs), chosen)
        return _mapped(self.function(*own_args, **own_kwargs), kept)


def _rows_of(value: Any) -> int:
    """The rows of the first tensor in a value that has any; 0 for none."""
    if isinstance(value, Tensor):
        return len(value) if value.ndim else 0
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return next((rows for rows in map(_rows_of, inner) if rows), 0)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A value with each tensor in it changed: in lists, tuples, mappings, and the outputs of diffusers' models."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return _like(value, {name: _mapped(part, change) for name, part in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(part, change) for part in value)
    return value


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts) if first.ndim else first
    if isinstance(first, Mapping):
        return _like(first, {name: _joined([part[name] for part in parts]) for name in first})
    if isinstance(first, (list, tuple)):
        return type(first)(_joined(list(of_all)) for of_all in zip(*parts, strict=True))
    return first


def _like(value: Mapping[str, Any], content: dict[str, Any]) -> Any:
    return content if type(value) is dict else type(value)(**content)
