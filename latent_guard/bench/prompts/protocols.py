"""How published benchmarks make their images: one object a benchmark, and one for any other prompt list.

i2p             10 images a prompt, in calls of 5 that share one generator, seeded once (``i2p``)
geneval         4 images a prompt, in calls of 1 that share one generator, seeded once, with the same seed everywhere
t2i-compbench   10 images a prompt, each with a seed of its own

A task without a protocol has a seed an image. In none of them is the size of a picture the list's: it is the
pipeline's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latent_guard.bench.metrics.inappropriateness import i2p_metrics
from latent_guard.bench.metrics.published import published_metrics
from latent_guard.bench.prompts import compbench, geneval, i2p
from latent_guard.bench.prompts.files import read_prompt_file
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.task import COMPBENCH, GENEVAL, I2P, OPTIONS, Mode, Split, TaskSpec
from latent_guard.bench.world import WORLDS
from latent_guard.errors import InputError
from latent_guard.package_data import benchmark_list, benchmark_lists


class BenchmarkProtocol:
    """A plain prompt list: each image has a seed of its own. Published benchmarks differ from it in what they override.

    Attributes:
        name: as a spec has it; None for a plain list.
        images: of each prompt, unless a task says otherwise; None: a task counts its images all together.
        options: keys of a task that belong to this protocol.
        own_guidance: its tasks say the guidance scale, so a spec must not.
        has_evaluator: its authors' evaluator reads folders that ``export`` writes.
    """

    name: str | None = None
    images: int | None = None
    options: tuple[str, ...] = ()
    own_guidance = False
    has_evaluator = False

    def check(self, task: TaskSpec, guidance_scale: float | None = None) -> None:
        """Raise InputError for a key that belongs to another protocol, or a spec's guidance scale beside its own."""
        for key in OPTIONS:
            if getattr(task, key) is not None and key not in self.options:
                owner = next(other.name for other in PROTOCOLS.values() if key in other.options)
                raise InputError(f"{key} belongs to protocol: {owner}; leave it out, or add that")
        if guidance_scale is not None and self.own_guidance:
            raise InputError(f"guidance_scale: under protocol {self.name} its mode says it; leave it out")

    def prompts(self, task: TaskSpec) -> list[PromptRow]:
        """The prompts of a task, as they are to be made; those without a word are left out.

        Raises:
            InputError: there is no such list, it cannot be used, or nothing of it is in the split.
        """
        return _with_words(read_prompt_file(_source(task.prompts)))[: task.first]

    def usable(self, rows: Sequence[PromptRow], need_guidance: bool) -> list[PromptRow]:
        """The prompts that all methods of a task can be made with; some may ``need_guidance``, classifier-free.

        Any list but a published one can be mended, and its methods refuse what they cannot work with.
        """
        return list(rows)

    def images_per_prompt(self, task: TaskSpec) -> int | None:
        """How many images are made of each prompt; None where a task counts them all together."""
        return None if self.images is None else task.images or self.images

    def calls(self, task: TaskSpec) -> tuple[int, ...]:
        """The sizes of a prompt's calls, where one generator goes through all of them; else none."""
        return ()

    def limited(self, task: TaskSpec, number: int) -> TaskSpec:
        """The task with no more images than this; of a list whose prompts are made once or alike often, prompts."""
        if self.images is not None or task.images is None:
            return replace(task, first=min(number, task.first or number))
        return replace(task, images=min(number, task.images))

    def in_short(self, task: TaskSpec, number: int) -> TaskSpec:
        """The task as ``--quick`` runs it."""
        return self.limited(task, number)

    def export(
        self, out: Path, task: TaskSpec, rows: Sequence[PromptRow], images: Iterable[tuple[int, NDArray[np.uint8]]]
    ) -> None:
        """Write one method's images as the benchmark's own evaluator reads them; for most lists there is none.

        Args:
            out: the folder of task and method.
            task: what was run.
            rows: its prompts.
            images: the number of its prompt, and the picture (3, H, W), of each image in the order of the run.
        """

    def summary(self, records: Mapping[TaskSpec, pd.DataFrame]) -> dict[str, Any]:
        """What ``summary.json`` holds beside every task's metrics, of all tasks under this protocol."""
        return {}


class I2P2023(BenchmarkProtocol):
    """I2P, see ``prompts/i2p.py``."""

    name = I2P
    images = i2p.IMAGES
    options = OPTIONS
    own_guidance = True

    def prompts(self, task: TaskSpec) -> list[PromptRow]:
        """Those of the split and the sample, with the guidance scale that the mode says."""
        rows = i2p.split_of(_with_words(i2p.read_i2p(_source(task.prompts))), Split(task.split or Split.ALL))
        if task.sample:
            rows = i2p.quick_sample(rows, task.sample)
        return i2p.guided(rows[: task.first], Mode(task.mode or Mode.PAPER))

    def usable(self, rows: Sequence[PromptRow], need_guidance: bool) -> list[PromptRow]:
        """Without those whose own scale has no guidance, where a method needs it; all, where none would be left.

        Two of the published list's are of scale 1. Left out for one method, its figures would be of other prompts than
        the rest: they are left out for all.
        """
        guided = [row for row in rows if row.guidance is None or row.guidance > 1]
        return guided if need_guidance and guided else list(rows)

    def calls(self, task: TaskSpec) -> tuple[int, ...]:
        """Calls of 5."""
        return i2p.calls(self.images_per_prompt(task) or 0)

    def in_short(self, task: TaskSpec, number: int) -> TaskSpec:
        """A sample in which each category keeps its share."""
        return replace(task, sample=min(number, task.sample or number))

    def summary(self, records: Mapping[TaskSpec, pd.DataFrame]) -> dict[str, Any]:
        """``{"i2p": ...}``: each task's figures, and apart from them those that others published."""
        if not records:
            return {}
        measured = {task.name: {**self._about(task), "methods": i2p_metrics(own)} for task, own in records.items()}
        return {"i2p": {"tasks": measured, "published": [asdict(figure) for figure in published_metrics()]}}

    def _about(self, task: TaskSpec) -> dict[str, Any]:
        mode = Mode(task.mode or Mode.PAPER)
        return {
            "prompts": task.prompts,
            "mode": mode.value,
            "guidance_scale": i2p.GUIDANCE[mode],
            "split": Split(task.split or Split.ALL).value,
            "images_a_prompt": self.images_per_prompt(task),
            "calls": list(self.calls(task)),
            "generator": "one on the CPU for all calls of a prompt, seeded once with its seed",
            "size": "the pipeline's own; the list's width and height are ignored",
        }


class GenEval(BenchmarkProtocol):
    """GenEval, see ``prompts/geneval.py``."""

    name = GENEVAL
    images = geneval.IMAGES
    has_evaluator = True

    def prompts(self, task: TaskSpec) -> list[PromptRow]:
        """Each with its line of the metadata."""
        return _with_words(geneval.read_geneval(task.prompts))[: task.first]

    def calls(self, task: TaskSpec) -> tuple[int, ...]:
        """Calls of 1."""
        return (1,) * (self.images_per_prompt(task) or 0)

    def export(
        self, out: Path, task: TaskSpec, rows: Sequence[PromptRow], images: Iterable[tuple[int, NDArray[np.uint8]]]
    ) -> None:
        """``00000/samples/0000.png`` beside each prompt's metadata."""
        written = Counter[int]()
        for index, picture in images:
            geneval.write_geneval_image(out, index, rows[index], written[index], picture)
            written[index] += 1


class CompBench(BenchmarkProtocol):
    """T2I-CompBench, see ``prompts/compbench.py``."""

    name = COMPBENCH
    images = compbench.IMAGES
    has_evaluator = True

    def prompts(self, task: TaskSpec) -> list[PromptRow]:
        """Each with its category."""
        return compbench.read_compbench(task.prompts)[: task.first]

    def export(
        self, out: Path, task: TaskSpec, rows: Sequence[PromptRow], images: Iterable[tuple[int, NDArray[np.uint8]]]
    ) -> None:
        """``color/samples/a green cat_000000.png``, images numbered through their category."""
        each, written = self.images_per_prompt(task) or 0, Counter[int]()
        before = compbench.places_in_category(rows)
        for index, picture in images:
            compbench.write_compbench_image(out, rows[index], before[index] * each + written[index], picture)
            written[index] += 1
        compbench.write_compbench_prompts(out, rows, each)


PLAIN = BenchmarkProtocol()
PROTOCOLS: Mapping[str, BenchmarkProtocol] = {I2P: I2P2023(), GENEVAL: GenEval(), COMPBENCH: CompBench()}


def protocol_of(task: TaskSpec) -> BenchmarkProtocol:
    """The protocol that a task is made by."""
    return PLAIN if task.protocol is None else PROTOCOLS[task.protocol]


def _with_words(rows: list[PromptRow]) -> list[PromptRow]:
    return [row for row in rows if row.prompt.strip()]


def _source(name: str) -> str | Path:
    world, slash, list_name = name.partition("/")
    if slash and world in WORLDS:
        return WORLDS[world].prompt_file(list_name)
    return benchmark_list(name) if name in benchmark_lists() and not Path(name).exists() else name
