"""Running a spec: every call that is not made yet, judged as it is made; a run that was killed is resumed."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from latent_guard.bench.baselines.base import Baseline, Generated, joined
from latent_guard.bench.decoding import Job
from latent_guard.bench.judges.base import Judge, Judgement
from latent_guard.bench.metrics.check_accuracy import observed
from latent_guard.bench.runs.folder import RunFolder, image_path
from latent_guard.bench.runs.peak_memory import measured_memory
from latent_guard.bench.runs.plan import Unit
from latent_guard.bench.runs.progress import shown_progress
from latent_guard.bench.spec import Spec
from latent_guard.bench.task import UNGUARDED, placed
from latent_guard.errors import InputError
from latent_guard.guidance.verdict import Decision, Verdict
from latent_guard.pipelines.families import denoiser_of
from latent_guard.pipelines.family_table import space_of_pipeline


@dataclass(frozen=True, eq=False)
class Bench:
    """What a run is made with: the pipeline, the spec's methods by name, and its judge."""

    spec: Spec
    pipe: Any
    methods: dict[str, Baseline]
    judge: Judge

    def check(self, guidance_scales: Mapping[str, Sequence[float | None]]) -> None:
        """Raise before anything is made, where a method cannot work with this pipeline or one of its calls' scales.

        The error is the method's own, with its place in the spec.
        """
        denoiser_of(self.pipe)
        known = inspect.signature(type(self.pipe).__call__).parameters
        if unknown := [name for name in self.spec.arguments if name not in known]:
            raise InputError(f"arguments: {type(self.pipe).__name__}'s call has no {unknown[0]}; leave it out")
        for method in self.spec.methods:
            with placed(method):
                for scale in guidance_scales[method.label]:
                    self.methods[method.label].check(self.pipe, scale, self.spec.steps)


@dataclass
class Clock:
    """Seconds inside the pipelines, and of all that a run did; images made in them."""

    inside: float = 0.0
    began: float = 0.0
    images: int = 0

    @property
    def overhead(self) -> float:
        """The share of time that was not spent inside the pipelines."""
        whole = time.perf_counter() - self.began
        return 1 - self.inside / whole if whole else 0.0


@dataclass(frozen=True, eq=False)
class MadeUnit:
    """All that a run keeps of a call, see ``RunFolder.keep``; ``seconds`` were spent inside the pipeline."""

    records: pd.DataFrame
    pictures: NDArray[np.uint8]
    verdicts: Sequence[Verdict]
    looks: pd.DataFrame | None
    latents: NDArray[np.float32] | None
    seconds: float


# Makes calls, in their order.
MakeUnits = Callable[[Sequence[Unit]], Iterable[MadeUnit]]


def run_units(
    bench: Bench,
    folder: RunFolder,
    units: Sequence[Unit],
    show_progress: bool = True,
    make_units: MakeUnits | None = None,
) -> Clock:
    """Make the calls that are not made yet, and keep each as it comes; ``make_units`` makes them elsewhere."""
    left = [unit for unit in units if not folder.is_made(unit)]
    clock = Clock(began=time.perf_counter())
    with shown_progress(units, left, show_progress) as progress:
        for unit, made in zip(
            left, make_units(left) if make_units else map(partial(made_unit, bench), left), strict=True
        ):
            folder.keep(unit, made.records, made.pictures, made.verdicts, made.looks, made.latents)
            clock.inside += made.seconds
            clock.images += len(made.records)
            progress.advance(len(made.records), int(made.records["unsafe"].sum()))
    return clock


def made_unit(bench: Bench, unit: Unit) -> MadeUnit:
    """Make a call and judge its images; one record an image."""
    made = _make(bench, unit)
    generated = made.generated
    records = _records(unit, made, bench.judge.judge(generated.pictures), bench.judge)
    looks = observed(generated.checks, records["row"]) if generated.checks else None
    latents = _latents(bench, generated)
    return MadeUnit(records, generated.pictures, generated.verdicts, looks, latents, made.seconds)


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
        generated = joined([_generate(bench, unit.method.label, jobs, shared) for jobs in unit.in_calls])
        seconds = time.perf_counter() - began
    return Made(generated, seconds, memory.added)


def _generate(bench: Bench, method: str, jobs: Sequence[Job], shared: torch.Generator | None) -> Generated:
    spec = bench.spec
    own = [torch.Generator().manual_seed(job.seed) for job in jobs]
    own_arguments = {"num_inference_steps": spec.steps, "generator": shared or own}
    arguments: dict[str, Any] = {**spec.arguments, **own_arguments}
    scale = spec.guidance_scale if spec.guidance_scale is not None else jobs[0].row.guidance
    if scale is not None:
        arguments["guidance_scale"] = scale
    return bench.methods[method].generate(bench.pipe, [job.row.prompt for job in jobs], **arguments)


def _latents(bench: Bench, made: Generated) -> NDArray[np.float32] | None:
    if not bench.spec.keep_latents or made.latents is None:
        return None
    return space_of_pipeline(bench.pipe).to_raw(made.latents).float().cpu().numpy()


def _records(unit: Unit, made: Made, judged: Judgement, judge: Judge) -> pd.DataFrame:
    generated = made.generated
    count = len(unit.jobs)
    rows = range(unit.first, unit.first + count)
    shared = {"generator_seed": pd.array([job.row.seed for job in unit.jobs], dtype="Int64")} if unit.calls else {}
    return pd.DataFrame(
        {
            "row": list(rows),
            "method": unit.method.label,
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
            "satisfied": _satisfied(unit, generated, judged, judge),
            "decision": _decisions(generated, unit.method.label),
            "blocked": generated.blocked,
            "touched": generated.touched,
            "evaluations": generated.evaluations,
            "seconds": made.seconds / count,
            "memory": made.memory,
            "image": [image_path(row) for row in rows],
        }
    )


def _satisfied(unit: Unit, generated: Generated, judged: Judgement, judge: Judge) -> ExtensionArray:
    """True, false or NA of each image; a blocked image satisfies no prompt."""
    answers = judge.satisfied([job.row for job in unit.jobs], judged, generated.pictures)
    answers[generated.blocked & ~answers.isna()] = False
    return answers


def _decisions(made: Generated, method: str) -> list[str]:
    if made.verdicts:
        return [verdict.decision.value for verdict in made.verdicts]
    untouched = UNGUARDED if method == UNGUARDED else Decision.ALLOWED.value
    acted = np.where(made.touched, Decision.STEERED.value, untouched)  # another method's doing has no finer name
    return [str(word) for word in np.where(made.blocked, Decision.BLOCKED.value, acted)]
