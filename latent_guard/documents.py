"""Reading YAML and JSON that others wrote: whatever is wrong with a file ends in one line that names it.

Nothing is read that could not be meant: no alias that grows beyond all bounds, no nesting that no reader of ours has,
no key twice (the second would silently win), no number or text that cannot be written down again, no object but plain
ones. Dates are texts.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from latent_guard.errors import InputError, one_line

MOST_BYTES = 256 << 20  # of a JSON file: the index of a few hundred thousand shards
MOST_YAML_BYTES = 16 << 20  # written by hand, and slow to read
MOST_DEPTH = 50  # of lists and mappings in each other
MOST_NODES = 1_000_000  # of a YAML file, aliases written out
MOST_DIGITS = 100  # of a whole number; Python refuses more than 4,300
_WIDEST = 1 << 64
_SHOWN = 160  # characters of what a parser says


def read_bytes(path: Path | str, what: str, most: int = MOST_BYTES) -> bytes:
    """The bytes of a plain file; ``what`` begins the message.

    Raises:
        InputError: no such file, one that is no plain file, or of more than ``most`` bytes.
    """
    path = Path(path)
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for, a device never ends
            raise InputError(f"cannot read {what} {path}: it is not a plain file")
        if about.st_size > most:
            raise InputError(
                f"cannot read {what} {path}: it has {about.st_size:,} bytes, and at most {most:,} are read"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise InputError(f"cannot read {what} {path}: {_reason(error)}") from error


def read_text(path: Path | str, what: str, most: int = MOST_BYTES) -> str:
    """The text of a plain file, UTF-8 with or without a byte order mark; errors as `read_bytes`, and for not UTF-8."""
    content = read_bytes(path, what, most)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {what} {path}: {_reason(error)}") from error


def read_yaml(path: Path | str, what: str) -> Any:
    """The plain value of a YAML file.

    Raises:
        InputError: the file cannot be read, is not YAML, or holds what is not read here.
    """
    return yaml_value(read_text(path, what, MOST_YAML_BYTES), str(path))


def read_json(path: Path | str, what: str) -> Any:
    """The plain value of a JSON file.

    Raises:
        InputError: the file cannot be read, is not JSON, or holds what is not read here.
    """
    return json_value(read_text(path, what), str(path))


def yaml_value(text: str, where: str) -> Any:
    """The plain value of a YAML text; ``where`` it stands begins the message of an ``InputError``."""
    return value_of(yaml_node(text, where), where)


def yaml_node(text: str, where: str) -> yaml.Node | None:
    """The same before it is made a value, for readers whose errors name the line; for ``value_of``."""
    try:
        loader = _Loader(text)
        try:
            node: yaml.Node | None = loader.get_single_node()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid YAML: {_reason(error)}") from error
    return node


def value_of(node: yaml.Node | None, where: str) -> Any:
    """The plain value of a node of ``yaml_node``."""
    if node is None:
        return None
    try:
        value = _Loader("").construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid YAML: {_reason(error)}") from error
    _require_plain(value, where)
    return value


def json_value(text: str | bytes, where: str) -> Any:
    """The plain value of a JSON text; ``where`` it stands begins the message of an ``InputError``."""
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON: {_reason(error)}") from error
    _require_plain(value, where)
    return value


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # untyped
    """YAML's own types but dates, bytes and sets; counts what aliases come to before anything is made of them."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # as PyYAML has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth, self._nodes = 0, 0
        self._sizes: dict[int, int] = {}  # of finished nodes, their aliases written out

    def compose_node(self, parent: Any, index: Any) -> Any:
        before, mark = self._nodes, self.peek_event().start_mark
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_DEPTH} lists in each other", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise yaml.MarkedYAMLError(problem="it holds itself; write its parts out", problem_mark=mark)
        self._nodes += self._sizes[id(node)] if is_alias else 1
        self._sizes.setdefault(id(node), self._nodes - before)
        if self._nodes > MOST_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_NODES:,} values", problem_mark=mark)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {one_line(key.value, 40)!r} is there twice", problem_mark=key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add((key.tag, key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {one_line(twice, 40)!r} is there twice")
    return found


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits):,} digits")
    return int(digits)


def _require_plain(value: Any, where: str) -> None:
    """Raise InputError for what could be read, but neither worked with nor written down again."""
    for depth, part in _parts(value):
        if depth > MOST_DEPTH:
            raise InputError(f"{where}: more than {MOST_DEPTH} lists and mappings in each other")
        if isinstance(part, int) and abs(part) >= _WIDEST:
            raise InputError(f"{where}: a whole number of more than 64 bits")
        if isinstance(part, str):
            try:
                part.encode()
            except UnicodeEncodeError as error:
                raise InputError(f"{where}: {one_line(part, 40)!r} holds half of a surrogate pair") from error


def _parts(value: Any) -> Iterator[tuple[int, Hashable | list[Any] | dict[Any, Any]]]:
    """A value and all that is in it, keys too, each with its depth; without recursion."""
    waiting = [(1, value)]
    while waiting:
        depth, part = waiting.pop()
        yield depth, part
        if depth > MOST_DEPTH:
            continue
        if isinstance(part, dict):
            waiting += [(depth + 1, inner) for pair in part.items() for inner in pair]
        elif isinstance(part, list | tuple):
            waiting += [(depth + 1, inner) for inner in part]


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start:,})"
    if isinstance(error, RecursionError):
        return f"more than {MOST_DEPTH} lists in each other"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {one_line(error.problem, _SHOWN)}"
    if "integer string conversion" in str(error):  # CPython's own words, which advise to lift its limit
        return "a whole number of thousands of digits"
    return one_line(error, _SHOWN)
