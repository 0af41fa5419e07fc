"""Dataclasses from plain data: whatever a document holds instead of what its reader needs ends in an ``InputError``."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from latent_guard.errors import InputError

T = TypeVar("T")
_PLAIN: dict[Any, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text"),
    bool: ((bool,), "true or false"),
}


def build(kind: type[T], data: Any, where: str) -> T:
    """An instance of a dataclass, and of those in it, with errors that name the key and ``where`` it stands.

    Values are checked against the fields' types: numbers (no bool is one), texts, enums by their values, lists, tuples
    and mappings with all that is in them.

    Raises:
        InputError: not a mapping, an unknown or missing key, or a value of the wrong type.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: expected keys and values, not {_kind_of(data)}")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(str(key) for key in data if key not in known):
        raise InputError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(known)}")
    for name, field in known.items():
        if name not in data and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where}: missing key {name!r}")
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
    return kind(**{name: checked(hints[name], value, where, name) for name, value in data.items()})


def checked(hint: Any, value: Any, where: str, name: str) -> Any:
    """A value as a type says it, lists as tuples where it says tuple; ``where`` and ``name`` are for the error."""
    if hint is Any or hint is object:
        return value
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, name)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(inner, value, where, name)
    if hint in _PLAIN:
        wanted, words = _PLAIN[hint]
        if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
            raise _wrong(where, name, words, value)
        return value
    if origin is Literal or (isinstance(hint, type) and issubclass(hint, Enum)):
        return _chosen(hint, value, where, name)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(where, name, "keys and values", value)
        key, part = inner
        return {checked(key, k, where, name): checked(part, v, where, f"{name}.{k}") for k, v in value.items()}
    return _listed(origin, inner, value, where, name)


def _one_of(kinds: tuple[Any, ...], value: Any, where: str, name: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    for kind in others[:-1]:
        try:
            return checked(kind, value, where, name)
        except InputError:
            continue
    return checked(others[-1], value, where, name)


def _chosen(hint: Any, value: Any, where: str, name: str) -> Any:
    enum = isinstance(hint, type)
    choices = [each.value for each in hint] if enum else list(get_args(hint))
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise _wrong(where, name, " or ".join(map(str, choices)), value)
    return hint(value) if enum else value


def _listed(origin: Any, inner: tuple[Any, ...], value: Any, where: str, name: str) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _wrong(where, name, "a list", value)
    of_any_length = origin is not tuple or inner[-1] is Ellipsis
    if not of_any_length and len(value) != len(inner):
        raise _wrong(where, name, f"a list of {len(inner)}", value)
    kinds = [inner[0]] * len(value) if of_any_length else inner
    parts = [checked(kind, part, where, f"{name} {n}") for n, (kind, part) in enumerate(zip(kinds, value, strict=True))]
    return tuple(parts) if origin is tuple else parts


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _wrong(where: str, name: str, words: str, value: Any) -> InputError:
    return InputError(f"{where}: {name} must be {words}, not {value!r}")


def _kind_of(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
