"""A spec from its file, every error with the line that it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from latent_guard.bench.prompts.protocols import protocol_of
from latent_guard.bench.spec import Spec
from latent_guard.bench.task import MethodSpec, TaskSpec
from latent_guard.errors import InputError
from latent_guard.files.documents import MAX_YAML_BYTES, read_text, value_of, yaml_node
from latent_guard.package_data import benchmark_spec, benchmark_specs

_OPTIONAL = ("grader",)  # None is the same as leaving it out


def read_spec(source: Path | str) -> Spec:
    """A spec from a YAML file, or one that ships, by its name.

    Raises:
        InputError: unreadable, not YAML, or not a spec; names the file and the line.
    """
    path = benchmark_spec(str(source)) if str(source) in benchmark_specs() else Path(source)
    if not path.exists():
        raise InputError(f"cannot read the spec {source}; those that ship are {', '.join(benchmark_specs())}")
    text = read_text(path, "the spec", MAX_YAML_BYTES)
    return _spec(_Place(path, yaml_node(text, str(path))))


@dataclass(frozen=True)
class _Place:
    """A node of the file, which knows its line."""

    path: Path
    node: yaml.Node | None

    def __str__(self) -> str:
        return f"{self.path}, line {self.node.start_mark.line + 1 if self.node is not None else 1}"

    def error(self, message: str) -> InputError:
        return InputError(f"{self}: {message}")

    def value(self) -> Any:
        return value_of(self.node, str(self))

    def items(self, what: str) -> list[tuple[_Place, _Place]]:
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"{what} is keys and values")
        return [(_Place(self.path, key), _Place(self.path, value)) for key, value in self.node.value]


def _spec(root: _Place) -> Spec:
    read = {"tasks": _tasks, "methods": _methods, "judge": _method, "arguments": _arguments}
    given = _known(root, "a spec", [key.name for key in fields(Spec)], read)
    for key in ("name", "tasks", "methods", "judge"):
        if key not in given:
            raise root.error(f"missing key {key!r}")
    _check_texts(root, given, ("name", "model", "grader"))
    if not isinstance(given.get("keep_latents", False), bool):
        raise root.error(f"keep_latents must be true or false, not {given['keep_latents']!r}")
    _check_methods(root, given)
    with _at_its_line(root):
        return Spec(**given)


@contextmanager
def _at_its_line(place: _Place) -> Iterator[None]:
    """Whose errors begin with the key that they are about."""
    try:
        yield
    except InputError as error:
        about = str(error).split()[0].rstrip(":")
        raise _line_of(place, about).error(str(error)) from error


def _tasks(place: _Place) -> tuple[TaskSpec, ...]:
    tasks = []
    for key, value in place.items("tasks"):
        keys = [key.name for key in fields(TaskSpec) if key.name != "name"]
        given = _known(value, "a task", keys, {"methods": _names})
        _check_texts(value, given, ("prompts",))
        if "prompts" not in given:
            raise value.error("missing key 'prompts'")
        name = str(key.value())
        with _at_its_line(value):
            tasks.append(TaskSpec(name, **given))
            protocol_of(tasks[-1]).check(tasks[-1])
    return tuple(tasks)


def _arguments(place: _Place) -> dict[str, Any]:
    return {str(key.value()): value.value() for key, value in place.items("arguments")}


def _methods(place: _Place) -> tuple[MethodSpec, ...]:
    if not isinstance(place.node, yaml.SequenceNode):
        raise place.error("methods is a list of methods")
    return tuple(_method(_Place(place.path, node)) for node in place.node.value)


def _names(place: _Place) -> tuple[str, ...]:
    if not isinstance(place.node, yaml.SequenceNode):
        raise place.error("a task's methods is a list of names")
    return tuple(str(name) for name in place.value())


def _check_methods(root: _Place, given: Mapping[str, Any]) -> None:
    known = [method.label for method in given["methods"]]
    (tasks,) = (value for key, value in root.items("a spec") if key.value() == "tasks")
    for task, (_, place) in zip(given["tasks"], tasks.items("tasks"), strict=True):
        try:
            task.check_methods(known)
        except InputError as error:
            raise place.error(str(error)) from error


def _method(place: _Place) -> MethodSpec:
    """``NAME``, or ``NAME: {option: value}``."""
    value = place.value()
    if isinstance(value, str):
        return MethodSpec(value, place=str(place))
    if not isinstance(value, dict) or len(value) != 1 or not isinstance(next(iter(value.values())), dict):
        raise place.error("give a name, or one name with its options")
    name, options = next(iter(value.items()))
    if strange := [key for key in options if not isinstance(key, str)]:
        raise place.error(f"the option {strange[0]!r} is not a name")
    return MethodSpec(str(name), options, str(place))


def _known(place: _Place, what: str, keys: Sequence[str], read: Mapping[str, Any]) -> dict[str, Any]:
    given = {}
    for key, value in place.items(what):
        if (name := key.value()) not in keys:
            raise key.error(f"unknown key {name!r}; known are {', '.join(keys)}")
        given[name] = read[name](value) if name in read else value.value()
    return given


def _check_texts(place: _Place, given: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in keys:
        value = given.get(key, "a text")
        if not (value is None and key in _OPTIONAL) and not (isinstance(value, str) and value.strip()):
            raise _line_of(place, key).error(f"{key} must be a text, not {value!r}; put it in quotes")


def _line_of(place: _Place, key: str) -> _Place:
    """Where a key stands."""
    return next((at for at, _ in place.items("keys and values") if at.value() == key), place)
