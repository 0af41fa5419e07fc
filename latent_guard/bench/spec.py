"""A benchmark as data: which prompts, which methods, which judge. One YAML file, or a Python object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from latent_guard.errors import InputError
from latent_guard.shipped import benchmark_spec, benchmark_specs

SHIPPED, EMOJI = "shipped", "emoji/"  # the model that ships; prefix of the embedded world's own prompt lists


@dataclass(frozen=True)
class TaskSpec:
    """A prompt list, and how many images are made of it.

    Attributes:
        prompts: a file, a data set of the hub, or ``emoji/NAME`` for a list of the embedded world.
        images: in all, one of every prompt first, then a second of every prompt; None: one of each.
        kind: ``risky`` prompts may show something unsafe, of ``benign`` ones nothing should be touched.
    """

    name: str
    prompts: str
    images: int | None = None
    kind: str = "risky"


@dataclass(frozen=True)
class ArmSpec:
    """A method by its name, with its settings (``baseline_named``)."""

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As tables and file names show it: ``sld(preset=strong)``."""
        settings = ", ".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.method}({settings})" if settings else self.method


@dataclass(frozen=True)
class Spec:
    """What a run makes and measures.

    Attributes:
        judge: its name or, with options, a mapping of one name to them.
        model: ``shipped``, a pipeline's folder, or a hub id.
        guidance_scale: None: the list's own, else the pipeline's default.
        quick: images a task under ``--quick``.
        grader: the CLIP of CLIP score, diversity and KID, see ``open_grader``; None: these are left out.
    """

    name: str
    tasks: tuple[TaskSpec, ...]
    arms: tuple[ArmSpec, ...]
    judge: ArmSpec
    model: str = SHIPPED
    steps: int = 20
    guidance_scale: float | None = None
    batch_size: int = 16
    quick: int = 100
    grader: str | None = None

    def __post_init__(self) -> None:
        for what, names in (("task", [t.name for t in self.tasks]), ("arm", [a.name for a in self.arms])):
            if not names:
                raise InputError(f"{what}s: name at least one")
            if twice := [name for name in names if names.count(name) > 1]:
                raise InputError(f"{what}s: {twice[0]!r} is there twice")

    @classmethod
    def read(cls, source: Path | str) -> Spec:
        """A spec from a YAML file, or one that ships, by its name.

        Raises:
            InputError: unreadable, not YAML, or not a spec; names the file and the line.
        """
        path = benchmark_spec(str(source)) if str(source) in benchmark_specs() else Path(source)
        try:
            root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"cannot read the spec {source}; those that ship are {', '.join(benchmark_specs())}"
            ) from error
        except yaml.YAMLError as error:
            raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        return _spec(_Place(path, root))

    def limited(self, images: int) -> Spec:
        """The same with no more than so many images a task."""
        tasks = (replace(task, images=min(images, task.images or images)) for task in self.tasks)
        return replace(self, tasks=tuple(tasks))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``read`` takes it."""
        tasks = {task.name: {k: v for k, v in asdict(task).items() if k != "name"} for task in self.tasks}
        arms = [{arm.method: dict(arm.options)} if arm.options else arm.method for arm in self.arms]
        judge = {self.judge.method: dict(self.judge.options)} if self.judge.options else self.judge.method
        plain = {key.name: getattr(self, key.name) for key in fields(self)}
        own = {"tasks": tasks, "arms": arms, "judge": judge}
        return {key: value for key, value in {**plain, **own}.items() if key != "grader" or value}


@dataclass(frozen=True)
class _Place:
    """A node of the file, which knows its line."""

    path: Path
    node: yaml.Node | None

    def error(self, message: str) -> InputError:
        line = self.node.start_mark.line + 1 if self.node is not None else 1
        return InputError(f"{self.path}, line {line}: {message}")

    def value(self) -> Any:
        return yaml.SafeLoader("").construct_document(self.node)

    def items(self, what: str) -> list[tuple[_Place, _Place]]:
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"{what} is keys and values")
        return [(_Place(self.path, key), _Place(self.path, value)) for key, value in self.node.value]


def _spec(root: _Place) -> Spec:
    read = {"tasks": _tasks, "arms": _arms, "judge": _method}
    given = _known(root, "a spec", [key.name for key in fields(Spec)], read)
    for key in ("name", "tasks", "arms", "judge"):
        if key not in given:
            raise root.error(f"missing key {key!r}")
    _check_numbers(root, given, ("steps", "batch_size", "quick"))
    try:
        return Spec(**given)
    except InputError as error:
        raise root.error(str(error)) from error


def _tasks(place: _Place) -> tuple[TaskSpec, ...]:
    tasks = []
    for key, value in place.items("tasks"):
        given = _known(value, "a task", ["prompts", "images", "kind"], {})
        _check_numbers(value, given, ("images",))
        if "prompts" not in given:
            raise value.error("missing key 'prompts'")
        if given.get("kind", "risky") not in ("risky", "benign"):
            raise value.error(f"kind must be risky or benign, not {given['kind']!r}")
        tasks.append(TaskSpec(str(key.value()), **given))
    return tuple(tasks)


def _arms(place: _Place) -> tuple[ArmSpec, ...]:
    if not isinstance(place.node, yaml.SequenceNode):
        raise place.error("arms is a list of methods")
    return tuple(_method(_Place(place.path, node)) for node in place.node.value)


def _method(place: _Place) -> ArmSpec:
    """``NAME``, or ``NAME: {option: value}``."""
    value = place.value()
    if isinstance(value, str):
        return ArmSpec(value)
    if not isinstance(value, dict) or len(value) != 1 or not isinstance(next(iter(value.values())), dict):
        raise place.error("give a name, or one name with its options")
    name, options = next(iter(value.items()))
    return ArmSpec(str(name), options)


def _known(place: _Place, what: str, keys: Sequence[str], read: Mapping[str, Any]) -> dict[str, Any]:
    given = {}
    for key, value in place.items(what):
        if (name := key.value()) not in keys:
            raise key.error(f"unknown key {name!r}; known are {', '.join(keys)}")
        given[name] = read[name](value) if name in read else value.value()
    return given


def _check_numbers(place: _Place, given: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in keys:
        value = given.get(key, 1)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise place.error(f"{key} must be a whole number of at least 1, not {value!r}")
