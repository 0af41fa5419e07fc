"""A benchmark as data: which prompts, which methods, which judge. One YAML file, or a Python object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from latent_guard.bench.prompts.i2p import Mode, Split
from latent_guard.bounds import MOST_AT_ONCE, MOST_GUIDANCE, MOST_IMAGES, MOST_STEPS, require_number, require_whole
from latent_guard.errors import InputError, LatentGuardError
from latent_guard.package_data import SHIPPED

EMOJI = "emoji/"  # prefix of the embedded world's own prompt lists
I2P, GENEVAL, COMPBENCH = PROTOCOLS = ("i2p", "geneval", "t2i-compbench")
_CHOICES = {
    "kind": ("risky", "benign"),
    "protocol": (None, *PROTOCOLS),
    "mode": (None, *(mode.value for mode in Mode)),
    "split": (None, *(split.value for split in Split)),
}


@dataclass(frozen=True)
class TaskSpec:
    """A prompt list, and how many images are made of it.

    Attributes:
        prompts: a file, one that ships, a data set of the hub, or ``emoji/NAME`` for a list of the embedded world.
        images: in all, one of every prompt first, then a second of every prompt; None: one of each. Under a protocol
            so many of each prompt; None: the protocol's own number.
        kind: ``risky`` prompts may show something unsafe, of ``benign`` ones nothing should be touched.
        protocol: ``i2p``, ``geneval`` or ``t2i-compbench``: lists, seeds and calls are as that benchmark has them.
        mode, split: of I2P, see ``prompts/i2p.py``; None: ``paper``, ``all``.
        sample: of I2P, about so many prompts, each category with its share.
        first: only so many of the list's prompts.
        arms: names of the methods that run it; None: all of them.
    """

    name: str
    prompts: str
    images: int | None = None
    kind: str = "risky"
    protocol: str | None = None
    mode: str | None = None
    split: str | None = None
    sample: int | None = None
    first: int | None = None
    arms: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for key, choices in _CHOICES.items():
            if (value := getattr(self, key)) not in choices:
                raise InputError(f"{key} must be {' or '.join(filter(None, choices))}, not {value!r}")
        for key in ("images", "sample", "first"):
            if (value := getattr(self, key)) is not None:
                require_whole(key, value, 1, MOST_IMAGES)
        if self.protocol != I2P and (key := self._given("mode", "split", "sample")):
            raise InputError(f"{key} belongs to protocol: {I2P}; leave it out, or add that")

    def check_arms(self, known: Sequence[str]) -> None:
        """Raises InputError where it asks for no method, or for one that is not among these."""
        if self.arms is not None and not (self.arms and set(self.arms) <= set(known)):
            raise InputError(f"arms must be one or more of {', '.join(known)}, not {', '.join(self.arms) or 'none'}")

    def limited(self, number: int) -> TaskSpec:
        """With no more than so many images; of a protocol's and of a list that is made once each, prompts."""
        if self.protocol or self.images is None:
            return replace(self, first=min(number, self.first or number))
        return replace(self, images=min(number, self.images))

    def in_short(self, number: int) -> TaskSpec:
        """The same, but of I2P a sample in which each category keeps its share."""
        if self.protocol == I2P:
            return replace(self, sample=min(number, self.sample or number))
        return self.limited(number)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without the name, and without what protocols alone have where nothing is said of it."""
        plain = {key: value for key, value in asdict(self).items() if key != "name"}
        plain["arms"] = list(self.arms) if self.arms else None
        return {key: value for key, value in plain.items() if value is not None or key in ("prompts", "images", "kind")}

    def _given(self, *keys: str) -> str:
        return next((key for key in keys if getattr(self, key) is not None), "")


@dataclass(frozen=True)
class ArmSpec:
    """A method by its name, with its settings (``baseline_named``).

    ``place`` is the file and line that it was read from, for errors; empty where it came from nowhere.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    place: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """As tables and file names show it: ``sld(preset=strong)``."""
        settings = ", ".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.method}({settings})" if settings else self.method


@contextmanager
def placed(arm: ArmSpec) -> Iterator[None]:
    """An error of the package's tree that is raised inside says where in the spec its cause stands."""
    try:
        yield
    except LatentGuardError as error:
        raise type(error)(f"{arm.place}: {error}" if arm.place else str(error)) from error


@dataclass(frozen=True)
class Spec:
    """What a run makes and measures.

    Attributes:
        judge: its name or, with options, a mapping of one name to them.
        model: ``shipped``, ``shipped-few-step``, a pipeline's folder, or a hub id.
        guidance_scale: None: the list's own, else the pipeline's default.
        quick: images a task under ``--quick``; under a protocol, which makes several of each, prompts.
        grader: the CLIP of CLIP score, diversity and KID, see ``open_grader``; None: these are left out.
        keep_latents: keep each image's raw latent in the run folder.
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
    keep_latents: bool = False

    def __post_init__(self) -> None:
        for key, most in (("steps", MOST_STEPS), ("batch_size", MOST_AT_ONCE), ("quick", MOST_IMAGES)):
            require_whole(key, getattr(self, key), 1, most)
        if self.guidance_scale is not None:
            require_number("guidance_scale", self.guidance_scale, 0, MOST_GUIDANCE)
        for what, names in (("task", [t.name for t in self.tasks]), ("arm", [a.name for a in self.arms])):
            if not names:
                raise InputError(f"{what}s: name at least one")
            if twice := [name for name in names if names.count(name) > 1]:
                raise InputError(f"{what}s: {twice[0]!r} is there twice")
        if self.guidance_scale is not None and any(task.protocol == I2P for task in self.tasks):
            raise InputError("guidance_scale: under protocol i2p its mode (paper or repo) says it; leave it out")
        for task in self.tasks:
            task.check_arms([arm.name for arm in self.arms])
        used = {name for task in self.tasks for name in task.arms or [arm.name for arm in self.arms]}
        if idle := [arm.name for arm in self.arms if arm.name not in used]:
            raise InputError(f"arms: no task uses {idle[0]}; name it in the arms of a task, or leave it out")

    def limited(self, number: int) -> Spec:
        """The same with no more than so many images a task, or prompts of a protocol's."""
        return replace(self, tasks=tuple(task.limited(number) for task in self.tasks))

    def in_short(self) -> Spec:
        """The same as ``--quick`` runs it."""
        return replace(self, tasks=tuple(task.in_short(self.quick) for task in self.tasks))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``read_spec`` takes it."""
        tasks = {task.name: task.to_dict() for task in self.tasks}
        arms = [{arm.method: dict(arm.options)} if arm.options else arm.method for arm in self.arms]
        judge = {self.judge.method: dict(self.judge.options)} if self.judge.options else self.judge.method
        plain = {key.name: getattr(self, key.name) for key in fields(self)}
        own = {"tasks": tasks, "arms": arms, "judge": judge}
        seldom = ("grader", "keep_latents")
        return {key: value for key, value in {**plain, **own}.items() if key not in seldom or value}


def arms_of(spec: Spec, task: TaskSpec) -> list[ArmSpec]:
    """The methods that run a task of a spec."""
    return [arm for arm in spec.arms if task.arms is None or arm.name in task.arms]
