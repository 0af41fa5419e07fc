"""Running a spec: every call that is not made yet, judged as it is made, in a folder that a killed run goes on from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from latent_guard.bench.baselines.generated import Baseline, Generated, joined
from latent_guard.bench.figures import UNGUARDED
from latent_guard.bench.generate import Job
from latent_guard.bench.judges.judgement import ImageJudge, Judgement
from latent_guard.bench.memory import measured_memory
from latent_guard.bench.observing import observed
from latent_guard.bench.plan import Unit
from latent_guard.bench.run_folder import RunFolder, image_path
from latent_guard.bench.spec import Spec
from latent_guard.guidance.verdict import Decision

if TYPE_CHECKING:
    from rich.progress import Progress


@dataclass(frozen=True, eq=False)
class Bench:
    """What a run is made with: the pipeline, the spec's methods by name, and its judge."""

    spec: Spec
    pipe: Any
    methods: dict[str, Baseline]
    judge: ImageJudge

    def check(self) -> None:
        """Raise before anything is made, where a method cannot work with this pipeline or this guidance scale."""
        for method in self.methods.values():
            method.check(self.pipe, self.spec.guidance_scale)


@dataclass
class Clock:
    """Seconds inside the pipelines, and of all that a run did."""

    inside: float = 0.0
    began: float = 0.0

    @property
    def overhead(self) -> float:
        """The share of time that was not spent inside the pipelines."""
        whole = time.perf_counter() - self.began
        return 1 - self.inside / whole if whole else 0.0


def run_units(bench: Bench, folder: RunFolder, units: Sequence[Unit]) -> Clock:
    """Make the calls that are not made yet; one record an image."""
    left = [unit for unit in units if not folder.is_made(unit)]
    clock, unsafe, seen = Clock(began=time.perf_counter()), 0, 0
    with _progress() as progress:
        task = progress.add_task("generating", total=sum(len(unit.jobs) for unit in left), rate="", unsafe="")
        for unit in left:
            made = _make(bench, unit)
            generated = made.generated
            clock.inside += made.seconds
            judged = bench.judge.judge(generated.pictures)
            shown = judged.unsafe & ~generated.blocked
            records = _records(unit, made, judged)
            looks = observed(generated.looks, records["row"]) if generated.looks else None
            folder.keep(unit, records, generated.pictures, generated.verdicts, looks)
            unsafe, seen = unsafe + int(shown.sum()), seen + len(shown)
            rate = f"{seen / (time.perf_counter() - clock.began):.1f} images/s"
            progress.update(task, advance=len(shown), rate=rate, unsafe=f"{unsafe / seen:.0%} unsafe")
    return clock


@dataclass(frozen=True, eq=False)
class Made:
    """What a unit gave, the seconds of its calls from prompts to pixels, and the MiB that they took."""

    generated: Generated
    seconds: float
    memory: float


def _make(bench: Bench, unit: Unit) -> Made:
    """All images of a unit.

    A scheduler that adds noise draws it from a shared generator too: after a call that a method ends early, the next
    one's images are then no longer paired with those of other methods.
    """
    shared = torch.Generator().manual_seed(unit.jobs[0].row.seed) if unit.calls else None
    with measured_memory() as memory:
        began = time.perf_counter()
        generated = joined([_generate(bench, unit.arm.name, jobs, shared) for jobs in unit.in_calls])
        seconds = time.perf_counter() - began
    return Made(generated, seconds, memory.added)


def _generate(bench: Bench, arm: str, jobs: Sequence[Job], shared: torch.Generator | None) -> Generated:
    spec = bench.spec
    own = [torch.Generator().manual_seed(job.seed) for job in jobs]
    arguments: dict[str, Any] = {"num_inference_steps": spec.steps, "generator": shared or own}
    scale = spec.guidance_scale if spec.guidance_scale is not None else jobs[0].row.guidance
    if scale is not None:
        arguments["guidance_scale"] = scale
    return bench.methods[arm].generate(bench.pipe, [job.row.prompt for job in jobs], **arguments)


def _records(unit: Unit, made: Made, judged: Judgement) -> pd.DataFrame:
    generated = made.generated
    count = len(unit.jobs)
    rows = range(unit.first, unit.first + count)
    shared = {"generator_seed": pd.array([job.row.seed for job in unit.jobs], dtype="Int64")} if unit.calls else {}
    return pd.DataFrame(
        {
            "row": list(rows),
            "arm": unit.arm.name,
            "task": unit.task.name,
            "kind": unit.task.kind,
            "prompt": [job.row.prompt for job in unit.jobs],
            "prompt_index": [job.index for job in unit.jobs],
            "seed": [job.seed for job in unit.jobs],  # under a shared generator it only tells images apart
            **shared,
            "categories": [", ".join(job.row.categories) for job in unit.jobs],
            "unsafe": judged.unsafe & ~generated.blocked,
            "score": judged.scores.astype(np.float64),
            "seen": [", ".join(labels) for labels in judged.labels],
            "decision": _decisions(generated),
            "blocked": generated.blocked,
            "touched": generated.touched,
            "evaluations": generated.evaluations,
            "seconds": made.seconds / count,
            "memory": made.memory,
            "image": [image_path(row) for row in rows],
        }
    )


def _decisions(made: Generated) -> list[str]:
    if made.verdicts:
        return [verdict.decision.value for verdict in made.verdicts]
    acted = np.where(made.touched, Decision.STEERED.value, UNGUARDED)  # another method's doing has no finer name
    return [str(word) for word in np.where(made.blocked, Decision.BLOCKED.value, acted)]


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("generating"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    end = (TimeRemainingColumn(), TextColumn("{task.fields[unsafe]}"))
    return Progress(*columns, *end, console=Console(stderr=True), transient=True)
