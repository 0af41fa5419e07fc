"""``latent-guard bench run``: from a spec to a finished run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.bench.baselines.naming import baseline_named
from latent_guard.bench.graders import open_grader
from latent_guard.bench.grading import grade
from latent_guard.bench.harness import Bench, Clock, run_units
from latent_guard.bench.i2p_summary import i2p_summary
from latent_guard.bench.judges.opening import open_judge
from latent_guard.bench.official_layout import lay_out
from latent_guard.bench.picture_features import PictureCLIP
from latent_guard.bench.plan import Plan, plan_of
from latent_guard.bench.prompts import PromptRow
from latent_guard.bench.protocols import task_rows
from latent_guard.bench.provenance import provenance
from latent_guard.bench.run_folder import RECORDS, SUMMARY, RunFolder, parquet
from latent_guard.bench.smoke import smoke_of
from latent_guard.bench.spec import Spec
from latent_guard.bench.summary import summarise
from latent_guard.errors import InputError
from latent_guard.whole_files import write_whole


@dataclass(frozen=True, eq=False)
class Opened:
    """A spec with everything that it names there, before anything is made."""

    bench: Bench
    prompts: Mapping[str, Sequence[PromptRow]]
    plan: Plan
    environment: dict[str, Any]
    grader: PictureCLIP | None


@dataclass(frozen=True)
class Done:
    """What a run came to; ``finished`` is False while other shares are still to be made."""

    images: int
    finished: bool
    clock: Clock


def prompts_of(spec: Spec) -> dict[str, list[PromptRow]]:
    """The prompt list of each task, without empty prompts.

    Raises:
        InputError: a list is not there, cannot be used, or is empty.
    """
    found = {}
    for task in spec.tasks:
        found[task.name] = task_rows(task)
        if not found[task.name]:
            raise InputError(f"task {task.name}: every prompt of {task.prompts} is empty")
    return found


def open_spec(spec: Spec, pipe: Any, bundle: Path, cache: Path) -> Opened:
    """Open judge, methods and prompts of a spec, and check that they go together.

    Raises:
        InputError: something that the spec names is not there, or a method cannot work with this pipeline.
    """
    prompts = prompts_of(spec)
    judge = open_judge(spec.judge.method, spec.judge.options)
    context = BaselineContext(bundle, cache, open_checker=_checker)
    methods = {arm.name: baseline_named(arm.method, arm.options, context) for arm in spec.arms}
    bench = Bench(spec, pipe, methods, judge)
    bench.check()
    grader = open_grader(spec.grader) if spec.grader else None
    arms = {name: method.name for name, method in methods.items()}
    environment = {
        **provenance(bundle).to_dict(),
        "judge": judge.preset,
        "grader": grader.name if grader else "none",
        "methods": arms,
        "scheduler": type(pipe.scheduler).__name__,
        **smoke_of(spec, prompts),
    }
    return Opened(bench, prompts, plan_of(spec, prompts), environment, grader)


def run(opened: Opened, out: Path, command: str, share: tuple[int, int] = (0, 1)) -> Done:
    """Make what is left of a run, or of a share of it; once all is there, grade it and write the figures.

    Raises:
        InputError: ``out`` holds another run.
    """
    spec = opened.bench.spec
    folder = RunFolder.open(out, spec, opened.environment)
    clock = run_units(opened.bench, folder, opened.plan.share(*share))
    records = folder.made(opened.plan.units)
    if len(records) < opened.plan.images:
        return Done(len(records), False, clock)
    graded = grade(folder, records, opened.prompts, opened.bench.judge, opened.grader)
    write_whole(out / RECORDS, parquet(graded.records))
    lay_out(folder, spec, graded.records)
    looks = folder.looks(opened.plan.units)
    own = {**smoke_of(spec, opened.prompts), **i2p_summary(spec, graded.records)}
    summary = {**summarise(graded, looks, spec.arms), **own, "command": command, "harness_overhead": clock.overhead}
    write_whole(out / SUMMARY, (json.dumps(summary, indent=1) + "\n").encode())
    return Done(len(records), True, clock)


def _checker(name: str, options: Mapping[str, Any]) -> Any:
    return open_judge(name, options)
