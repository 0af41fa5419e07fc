"""``latent-guard bench run``: from a spec to a finished run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latent_guard.bench.baselines.base import Baseline
from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.bench.baselines.registry import baseline_named
from latent_guard.bench.judges.registry import open_judge
from latent_guard.bench.metrics.clip_features import PictureCLIP, open_grader
from latent_guard.bench.metrics.i2p_summary import i2p_summary
from latent_guard.bench.metrics.summary import summarise
from latent_guard.bench.prompts.protocols import task_rows
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.runs.checksums import OF_RUN, write_checksums
from latent_guard.bench.runs.evaluator_export import lay_out
from latent_guard.bench.runs.execute import Bench, Clock, run_units
from latent_guard.bench.runs.folder import RECORDS, SUMMARY, RunFolder, planned_records
from latent_guard.bench.runs.grading import grade
from latent_guard.bench.runs.identity import ENVIRONMENT, SPEC
from latent_guard.bench.runs.out_of_domain import smoke_of
from latent_guard.bench.runs.plan import Plan, plan_of
from latent_guard.bench.runs.prompt_filter import left_out, with_guidance
from latent_guard.bench.runs.provenance import guard_code, manifest_hash, prompts_hash, provenance
from latent_guard.bench.runs.tables import parquet
from latent_guard.bench.spec import ArmSpec, Spec, arms_of, placed
from latent_guard.bench.world import SHIPPED_WORLD
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_whole, writing
from latent_guard.files.documents import json_value
from latent_guard.package_data import SHIPPED_FEW_STEP

SEEDS = "an image's own generator on the CPU, seeded by its prompt's seed + its number; of a protocol, as that has it"


@dataclass(frozen=True, eq=False)
class Opened:
    """A spec with all that it names, before anything is made; without pipeline and methods where it only grades."""

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


def prompts_of(spec: Spec) -> dict[str, list[PromptRow]]:
    """The prompt list of each task, without empty prompts, and as `prompt_filter` has it.

    Raises:
        InputError: a list is not there, cannot be used, or is empty.
    """
    found = {}
    for task in spec.tasks:
        found[task.name] = with_guidance(spec, task, task_rows(task))
        if not found[task.name]:
            raise InputError(f"task {task.name}: every prompt of {task.prompts} is empty")
    return found


def open_spec(spec: Spec, pipe: Any, bundle: Path, cache: Path) -> Opened:
    """Open judge, methods and prompts of a spec, and check that they go together; models go where the pipeline is.

    Raises:
        InputError: something that the spec names is not there, or a method cannot work with this pipeline; says where
            in the spec it stands.
    """
    graded = open_to_grade(spec, str(pipe.device))
    context = BaselineContext(bundle, cache, str(pipe.device), _checker)
    methods = {arm.name: _method(arm, context) for arm in spec.arms}
    bench = replace(graded.bench, pipe=pipe, methods=methods)
    bench.check({arm.name: _scales(spec, arm, graded.prompts) for arm in spec.arms})
    environment = {
        **provenance(bundle).to_dict(),
        "guard_code": guard_code(),
        "prompts": prompts_hash(graded.prompts),
        **graded.environment,
        "methods": {name: method.name for name, method in methods.items()},
        "model": _model(spec, pipe),
        "scheduler": type(pipe.scheduler).__name__,
        "device": str(pipe.device),
        "seeds": SEEDS,
    }
    return replace(graded, bench=bench, environment=environment)


def open_to_grade(spec: Spec, device: str = "cpu") -> Opened:
    """Open judge, grader and prompts of a spec, for images that were made elsewhere.

    Raises:
        InputError: one of them is not there.
    """
    prompts = prompts_of(spec)
    with placed(spec.judge):
        judge = open_judge(spec.judge.method, spec.judge.options)
    grader = open_grader(spec.grader, device) if spec.grader else None
    environment = {"judge": judge.preset, "grader": grader.name if grader else "none", **smoke_of(spec, prompts)}
    return Opened(Bench(spec, None, {}, judge), prompts, plan_of(spec, prompts), environment, grader)


def run(opened: Opened, out: Path, command: str, share: tuple[int, int] = (0, 1)) -> Done:
    """Make what is left of a run, or of a share of it; once all is there, grade it and write the figures.

    Raises:
        InputError: ``out`` holds another run, or calls of other prompts than the lists now hold.
    """
    return finish(opened, out, command, make(opened, out, share))


def make(opened: Opened, out: Path, share: tuple[int, int] = (0, 1), show_progress: bool = True) -> Clock:
    """Make what is left of a share of a run, and no figures; raises as ``run``.

    What an earlier run left of this share is read once; calls with a damaged file are made again.
    """
    mine, damaged = opened.plan.share(*share), []
    if begun := RunFolder.found(out, opened.bench.spec):
        damaged = [unit for unit in filter(begun.is_made, mine) if begun.damage(unit)]
        for unit in filter(begun.is_made, opened.plan.units):
            if unit not in damaged:
                planned_records(unit, begun)
    folder = RunFolder.open(out, opened.bench.spec, opened.environment)
    for unit in damaged:
        folder.forget(unit)
    return run_units(opened.bench, folder, mine, show_progress)


def finish(opened: Opened, out: Path, command: str, clock: Clock | None = None) -> Done:
    """Grade a run and write its figures, if all of it is there; ``clock`` is of the one who made it.

    Raises:
        InputError: an image or another file of the run is damaged, or the file system refuses.
    """
    with writing(out):
        return _finish(opened, out, command, clock)


def _finish(opened: Opened, out: Path, command: str, clock: Clock | None) -> Done:
    spec, folder = opened.bench.spec, RunFolder(out)
    records = folder.made(opened.plan.units)
    if len(records) < opened.plan.images:
        return Done(len(records), False)
    graded = grade(folder, records, opened.grader)
    table = parquet(graded.records)
    write_whole(out / RECORDS, table)
    lay_out(folder, spec, graded.records)
    looks = folder.looks(opened.plan.units)
    own = {
        **smoke_of(spec, opened.prompts),
        **i2p_summary(spec, graded.records),
        **left_out(spec, opened.prompts),
        "command": command,
    }
    summary = {**summarise(graded, looks, spec.arms), **own}
    if clock and clock.images == opened.plan.images:  # a part of a run says nothing of the whole
        summary["harness_overhead"] = clock.overhead
    figures = (json.dumps(summary, indent=1) + "\n").encode()
    write_whole(out / SUMMARY, figures)
    told = {name: (out / name).read_bytes() for name in (SPEC, ENVIRONMENT)}
    environment = json_value(told[ENVIRONMENT], str(out / ENVIRONMENT))
    write_checksums(out, OF_RUN, {**told, RECORDS: table, SUMMARY: figures}, environment=environment)
    return Done(len(records), True)


def _method(arm: ArmSpec, context: BaselineContext) -> Baseline:
    with placed(arm):
        return baseline_named(arm.method, arm.options, context)


def _model(spec: Spec, pipe: Any) -> str:
    """The pipeline, with the commit that it was downloaded at, where it was; of the few-step one, its own weights."""
    if spec.model == SHIPPED_FEW_STEP:
        return f"{spec.model}@{manifest_hash(SHIPPED_WORLD.few_step())}"
    commit = getattr(pipe.text_encoder.config, "_commit_hash", None)
    return f"{spec.model}@{commit}" if commit else spec.model


def _scales(spec: Spec, arm: ArmSpec, prompts: Mapping[str, Sequence[PromptRow]]) -> list[float | None]:
    """Every guidance scale that a call by this method has; None is the pipeline's default."""
    if spec.guidance_scale is not None:
        return [spec.guidance_scale]
    rows = [row for task in spec.tasks if arm in arms_of(spec, task) for row in prompts[task.name]]
    return list(dict.fromkeys(row.guidance for row in rows))


def _checker(name: str, options: Mapping[str, Any]) -> Any:
    return open_judge(name, options)
