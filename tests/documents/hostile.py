"""Documents that nobody means: as texts, as things that are no files, and as one value of a good document changed."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BOMB = "a: &0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{'abcdefghij'[n]}: &{n} [{', '.join([f'*{n - 1}'] * 10)}]\n" for n in range(1, 10)
)

YAML: dict[str, bytes] = {
    "deep lists": b"[" * 5000,
    "deep mappings": b"{a: " * 5000,
    "deep, and closed": b"a: " + b"[" * 900 + b"]" * 900,
    "deep blocks": b"".join(b" " * n + b"a:\n" for n in range(400)),
    "alias bomb": BOMB.encode(),
    "an alias of itself": b"a: &a [*a]",
    "a mapping in itself": b"&a {a: *a}",
    "merges of merges": b"a: &a {<<: *a}",
    "6,000 digits": b"a: " + b"9" * 6000,
    "400 digits": b"steps: " + b"9" * 400,
    "sixties": b"a: " + b":".join([b"59"] * 400),
    "a key twice": b"a: 1\nb: 2\na: 3",
    "not UTF-8": b"a: \xff\xfe\xfa",
    "UTF-16": "a: b".encode("utf-16"),
    "NUL": b"a: \x00",
    "a lone surrogate": b'a: "\\ud800"',
    "Python": b"!!python/object/apply:os.system ['true']",
    "a tag of its own": b"a: !mine {b: c}",
    "binary": b"a: !!binary aGk=",
    "a list for a key": b"? [a, b]\n: c",
    "cut": b"a: [",
    "two documents": b"a: 1\n---\na: 2",
    "an unknown alias": b"a: *b",
    "a list": b"[]",
    "null": b"null",
    "a number": b"5",
    "a text": b"x",
    "empty": b"",
    "a date": b"2001-99-99",
    "an escape beyond Unicode": b'a: "\\U99999999"',
}
JSON: dict[str, bytes] = {
    "deep lists": b"[" * 100_000,
    "deep mappings": b'{"a":' * 5000,
    "deep, and closed": b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}",
    "6,000 digits": b'{"a": ' + b"9" * 6000 + b"}",
    "400 digits": b'{"a": -' + b"9" * 400 + b"}",
    "400 digits in a list": b'{"a": [1, 2, ' + b"9" * 400 + b"]}",
    "a key twice": b'{"a": 1, "a": 2}',
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "NUL": b'{"a": "\x00"}',
    "a lone surrogate": b'{"a": "\\ud800"}',
    "cut": b'{"a": ',
    "two documents": b"{} {}",
    "a list": b"[]",
    "null": b"null",
    "a number": b"5",
    "a float beyond all": b"1e999",
    "a text": b'"x"',
    "empty": b"",
}
ENDLESS = 300 << 20  # bytes, none of which is on the disk


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_endless(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(ENDLESS)


NO_FILES = {"a folder": make_folder, "a pipe": make_pipe, "300 MB of nothing": make_endless}

_VALUES: tuple[Any, ...] = (
    *(None, [], {}, "", "x", "../x", "a\0b", -1, 0, 1, 1.5, True, 2**62, -(2**62), float("nan"), float("inf"), 1e300),
    *([None], ["x"], [["x"]], [1], {"x": 1}, {"x": {"y": []}}),
)


def changes(document: Any) -> Iterator[tuple[str, Any]]:
    """A good document with one of its values, in turn, another, or not there."""
    for place in _places(document):
        for value in _VALUES:
            yield f"{'.'.join(map(str, place))} = {value!r}", _changed(document, place, value)
        if place:
            yield f"{'.'.join(map(str, place))} left out", _without(document, place)


def _places(value: Any) -> Iterator[tuple[Any, ...]]:
    yield ()
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        for place in _places(part):
            yield (key, *place)


def _changed(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    whole = copy.deepcopy(document)
    _at(whole, place[:-1])[place[-1]] = value
    return whole


def _without(document: Any, place: tuple[Any, ...]) -> Any:
    whole = copy.deepcopy(document)
    del _at(whole, place[:-1])[place[-1]]
    return whole


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value
