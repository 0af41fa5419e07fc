"""A benchmark as data: which prompts, which methods, which judge. One YAML file, or a Python object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from latent_guard.bench.prompts.protocols import protocol_of
from latent_guard.bench.task import MethodSpec, TaskSpec
from latent_guard.bounds import MAX_BATCH, MAX_GUIDANCE, MAX_IMAGES, MAX_STEPS, require_number, require_whole
from latent_guard.errors import InputError
from latent_guard.package_data import SHIPPED

OWN_ARGUMENTS = {
    "prompt": "the tasks have the prompts",
    "generator": "the prompt lists have the seeds",
    "num_inference_steps": "the key steps has it",
    "guidance_scale": "the key of that name has it",
    "output_type": "every method decodes by itself",
}


@dataclass(frozen=True)
class Spec:
    """What a run makes and measures.

    Attributes:
        judge: its name or, with options, a mapping of one name to them.
        model: ``shipped``, ``shipped-few-step``, ``shipped-flow``, a pipeline's folder, or a hub id.
        guidance_scale: None: the list's own, else the pipeline's default.
        quick: images a task under ``--quick``; under a protocol, which makes several of each, prompts.
        grader: the CLIP of CLIP score, diversity and KID, see ``open_grader``; None: these are left out.
        keep_latents: keep each image's raw latent in the run folder.
        arguments: others of the pipeline's call, which its model or its guard wants: ``{max_sequence_length: 256}``.
    """

    name: str
    tasks: tuple[TaskSpec, ...]
    methods: tuple[MethodSpec, ...]
    judge: MethodSpec
    model: str = SHIPPED
    steps: int = 20
    guidance_scale: float | None = None
    batch_size: int = 16
    quick: int = 100
    grader: str | None = None
    keep_latents: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, most in (("steps", MAX_STEPS), ("batch_size", MAX_BATCH), ("quick", MAX_IMAGES)):
            require_whole(key, getattr(self, key), 1, most)
        if self.guidance_scale is not None:
            require_number("guidance_scale", self.guidance_scale, 0, MAX_GUIDANCE)
        if own := [name for name in OWN_ARGUMENTS if name in self.arguments]:
            raise InputError(f"arguments: {own[0]} is no other argument; {OWN_ARGUMENTS[own[0]]}")
        for what, names in (
            ("task", [t.name for t in self.tasks]),
            ("method", [method.label for method in self.methods]),
        ):
            if not names:
                raise InputError(f"{what}s: name at least one")
            if twice := [name for name in names if names.count(name) > 1]:
                raise InputError(f"{what}s: {twice[0]!r} is there twice")
        for task in self.tasks:
            protocol_of(task).check(task, self.guidance_scale)
            task.check_methods([method.label for method in self.methods])
        used = {name for task in self.tasks for name in task.methods or [method.label for method in self.methods]}
        if idle := [method.label for method in self.methods if method.label not in used]:
            raise InputError(f"methods: no task uses {idle[0]}; name it in the methods of a task, or leave it out")

    def limited(self, number: int) -> Spec:
        """The same with no more than this many images a task, or prompts of a protocol's."""
        return replace(self, tasks=tuple(protocol_of(task).limited(task, number) for task in self.tasks))

    def in_short(self) -> Spec:
        """The same as ``--quick`` runs it."""
        return replace(self, tasks=tuple(protocol_of(task).in_short(task, self.quick) for task in self.tasks))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``read_spec`` takes it."""
        tasks = {task.name: task.to_dict() for task in self.tasks}
        methods = [{method.name: dict(method.options)} if method.options else method.name for method in self.methods]
        judge = {self.judge.name: dict(self.judge.options)} if self.judge.options else self.judge.name
        plain = {key.name: getattr(self, key.name) for key in fields(self)}
        own = {"tasks": tasks, "methods": methods, "judge": judge}
        seldom = ("grader", "keep_latents", "arguments")
        return {key: value for key, value in {**plain, **own}.items() if key not in seldom or value}


def methods_of(spec: Spec, task: TaskSpec) -> list[MethodSpec]:
    """The methods that run a task of a spec."""
    return [method for method in spec.methods if task.methods is None or method.label in task.methods]
