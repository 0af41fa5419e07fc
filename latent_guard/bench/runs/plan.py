"""What a run consists of: calls of a pipeline by one method, in an order in which the methods take turns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, count

from latent_guard.bench.decoding import Job, batches, jobs_for
from latent_guard.bench.prompts.protocols import protocol_of
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.spec import Spec
from latent_guard.bench.task import MethodSpec, TaskSpec
from latent_guard.bounds import MAX_IMAGES, require_whole


@dataclass(frozen=True)
class Unit:
    """One call: the images ``first``, ``first`` + 1, ... of the run, by one method, for one task.

    A unit is atomic; its ``name`` is that of its file. Its images have a seed each, but for a prompt
    under a protocol whose images share a generator: all of them are one unit then, made in calls of ``calls`` images
    that take the generator over from each other.
    """

    name: str
    task: TaskSpec
    method: MethodSpec
    jobs: tuple[Job, ...]
    first: int
    calls: tuple[int, ...] = ()

    @property
    def in_calls(self) -> list[tuple[Job, ...]]:
        """The jobs of each call."""
        ends = list(accumulate(self.calls or (len(self.jobs),)))
        return [self.jobs[end - size : end] for end, size in zip(ends, self.calls or ends, strict=True)]


@dataclass(frozen=True)
class Plan:
    """All calls of a run, in the order in which they are made."""

    units: tuple[Unit, ...]

    @property
    def images(self) -> int:
        return sum(len(unit.jobs) for unit in self.units)

    @property
    def calls(self) -> int:
        return sum(len(unit.in_calls) for unit in self.units)

    def share(self, index: int, count: int) -> tuple[Unit, ...]:
        """The ``index``-th of ``count`` shares, each with as much of every method as the others."""
        methods: dict[tuple[str, str], int] = {}
        mine = []
        for unit in self.units:
            turn = methods.setdefault((unit.task.name, unit.method.label), 0)
            methods[unit.task.name, unit.method.label] += 1
            if turn % count == index:
                mine.append(unit)
        return tuple(mine)


def plan_of(spec: Spec, prompts: Mapping[str, Sequence[PromptRow]]) -> Plan:
    """Every task's prompts by every method: batch by batch, and each batch by one method after the other.

    Methods get the same batches in the same order: paired images differ by the method alone, and what else the machine
    does meets all methods alike. A task that names its methods is left to them.
    """
    units: list[Unit] = []
    first, files = 0, slugs([task.name for task in spec.tasks])
    for task in spec.tasks:
        images = _images_of(task, len(prompts[task.name]))
        require_whole(f"task {task.name}: images, of all its prompts together,", images, 1, MAX_IMAGES)
        calls = protocol_of(task).calls(task)
        for number, jobs in enumerate(_jobs_of_units(task, prompts[task.name], spec.batch_size)):
            for place, method in enumerate(spec.methods):
                if task.methods and method.label not in task.methods:
                    continue
                name = f"{files[task.name]}-{number:05d}-{place:02d}"
                units.append(Unit(name, task, method, tuple(jobs), first, calls))
                first += len(jobs)
    return Plan(tuple(units))


def _jobs_of_units(task: TaskSpec, rows: Sequence[PromptRow], batch_size: int) -> list[list[Job]]:
    if calls := protocol_of(task).calls(task):
        return [[Job(index, row, image) for image in range(sum(calls))] for index, row in enumerate(rows)]
    return batches(jobs_for(rows, _images_of(task, len(rows))), batch_size)


def _images_of(task: TaskSpec, prompts: int) -> int:
    """Of all prompts together."""
    each = protocol_of(task).images_per_prompt(task)
    return task.images or prompts if each is None else each * prompts


def slug(name: str) -> str:
    """A task's or method's name as part of a file name; a spec may come from anybody."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "task"


def slugs(names: Sequence[str]) -> dict[str, str]:
    """That of each name, with a number where another has it already."""
    found: dict[str, str] = {}
    for name in names:
        own = slug(name)
        numbered = (f"{own}_{number}" for number in count(2))
        found[name] = next(each for each in chain([own], numbered) if each not in found.values())
    return found
