"""Reading untrusted YAML and JSON: whatever is wrong with a file ends in one line that names it.

Refused are aliases that grow beyond all bounds, deep nesting, a key twice (the second would silently win), numbers and
texts that cannot be written again, and objects that are not plain. Dates are texts.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from latent_guard.errors import MAX_REASON, InputError, one_line, reason_of

MAX_BYTES = 256 << 20  # of a JSON file: the index of a few hundred thousand shards
MAX_YAML_BYTES = 4 << 20  # written by hand, and slow to read
MAX_LINE = 16 << 20  # bytes that are taken for one
MAX_DEPTH = 50  # of lists and mappings in each other
MAX_NODES = 1_000_000  # of a YAML file, aliases written out
MAX_DIGITS = 100  # of a number in YAML, which can write one as 1:59:59 and so on; PyYAML is slow with long ones
_WIDEST = 1 << 63  # what torch and numpy count with


def read_bytes(path: Path | str, what: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a plain file; ``what`` begins the message.

    Raises:
        InputError: no such file, one that is no plain file, or of more than ``max_bytes`` bytes.
    """
    with _reading(path, what) as size:
        if size > max_bytes:
            raise InputError(f"cannot read {what} {path}: it has {size:,} bytes, and at most {max_bytes:,} are read")
        return Path(path).read_bytes()


def read_text(path: Path | str, what: str, max_bytes: int = MAX_BYTES) -> str:
    """The text of a plain file, UTF-8 with or without a byte order mark; errors as ``read_bytes``, and if not UTF-8."""
    with _reading(path, what):
        return read_bytes(path, what, max_bytes).decode("utf-8-sig")


def read_lines(path: Path | str, what: str) -> Iterator[bytes]:
    """The lines of a plain file of any length, with their ends; one of more than 16 MiB comes in several parts.

    Raises:
        InputError: no such file, or one that is no plain file.
    """
    with _reading(path, what), open(path, "rb") as file:
        while line := file.readline(MAX_LINE):  # a text's own idea of lines ends them at U+2028 and the like, too
            yield line


@contextmanager
def _reading(path: Path | str, what: str) -> Iterator[int]:
    """The bytes of a plain file that is read inside; errors on the way name it."""
    try:
        about = Path(path).stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for, a device never ends
            raise InputError(f"cannot read {what} {path}: it is not a plain file")
        yield about.st_size
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a name with a NUL
        raise InputError(f"cannot read {what} {path}: {_reason(error)}") from error


def read_yaml(path: Path | str, what: str, *, any_text: bool = False) -> Any:
    """The plain value of a YAML file; ``any_text`` as in ``json_value``.

    Raises:
        InputError: the file cannot be read, is not YAML, or holds what is not read here.
    """
    node = yaml_node(read_text(path, what, MAX_YAML_BYTES), str(path))
    return value_of(node, str(path), any_text=any_text)


def read_json(path: Path | str, what: str, *, any_text: bool = False) -> Any:
    """The plain value of a JSON file; ``any_text`` as in ``json_value``.

    Raises:
        InputError: the file cannot be read, is not JSON, or holds what is not read here.
    """
    return json_value(read_text(path, what), str(path), any_text=any_text)


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
    except (yaml.YAMLError, ValueError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{where} is not valid YAML: {_reason(error)}") from error
    return node


def value_of(node: yaml.Node | None, where: str, *, any_text: bool = False) -> Any:
    """The plain value of a node of ``yaml_node``; ``any_text`` as in ``json_value``."""
    if node is None:
        return None
    try:
        value = _Loader("").construct_document(node)
    except (yaml.YAMLError, ValueError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{where} is not valid YAML: {_reason(error)}") from error
    _require_plain(value, where, any_text)
    return value


def json_value(text: str | bytes, where: str, *, any_text: bool = False) -> Any:
    """The plain value of a JSON text; ``where`` it stands begins the message of an ``InputError``.

    ``any_text`` is for names of files and prompts: the name of one that is not UTF-8 has half surrogate pairs, and a
    prompt may hold a NUL. Elsewhere neither is read, since texts of a document name files and go to tokenizers.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON: {_reason(error)}") from error
    _require_plain(value, where, any_text)
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
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_DEPTH} lists in each other", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise yaml.MarkedYAMLError(problem="it holds itself; write its parts out", problem_mark=mark)
        self._nodes += self._sizes[id(node)] if is_alias else 1
        self._sizes.setdefault(id(node), self._nodes - before)
        if self._nodes > MAX_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_NODES:,} values", problem_mark=mark)
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        if node.tag.endswith((":int", ":float")) and len(node.value) > MAX_DIGITS:
            problem = f"a number of {len(node.value):,} digits"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in seen:
                problem = f"the key {one_line(key.value, 40)!r} is there twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add((key.tag, key.value))
        return node


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {one_line(key, 40)!r} is there twice")
        found[key] = value
    return found


def _require_plain(value: Any, where: str, any_text: bool) -> None:
    """Raise InputError for what could be read, but neither worked with nor written down again."""
    waiting = [(1, value)]  # no recursion: this is what looks for too much of it
    while waiting:
        depth, part = waiting.pop()
        if depth > MAX_DEPTH:
            raise InputError(f"{where}: more than {MAX_DEPTH} lists and mappings in each other")
        if isinstance(part, str) and not any_text and (problem := _unusable(part)):
            raise InputError(f"{where}: {problem}")
        if isinstance(part, int) and not -_WIDEST <= part < _WIDEST:
            raise InputError(f"{where}: a whole number of more than 64 bits")
        elif isinstance(part, dict):
            waiting += [(depth + 1, inner) for pair in part.items() for inner in pair]
        elif isinstance(part, list | tuple):
            numbers = set(map(type, part)) == {int}  # a shard's offsets, ten thousand and more
            waiting += [(depth + 1, inner) for inner in ((min(part), max(part)) if numbers else part)]


def _unusable(text: str) -> str:
    """The problem with a text, which may become the name of a file or go to a tokenizer; empty for none."""
    if "\0" in text:
        return f"{one_line(text, 40)!r} holds a NUL"
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{one_line(text, 40)!r} holds half of a surrogate pair"
    return ""


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start:,})"
    if isinstance(error, RecursionError):
        return f"more than {MAX_DEPTH} lists in each other"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {one_line(error.problem, MAX_REASON)}"
    if "integer string conversion" in str(error):  # CPython's own words, which advise to lift its limit
        return "a whole number of thousands of digits"
    return reason_of(error)
