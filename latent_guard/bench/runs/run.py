"""``latent-guard bench run``: from a spec to a finished run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from latent_guard import fitted_guards
from latent_guard.bench.baselines.base import Baseline
from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.bench.baselines.registry import baseline_named
from latent_guard.bench.judges.base import Judge
from latent_guard.bench.judges.registry import open_judge
from latent_guard.bench.metrics.clip_features import PictureCLIP, open_grader
from latent_guard.bench.metrics.summary import summarise
from latent_guard.bench.prompts.protocols import PROTOCOLS, protocol_of
from latent_guard.bench.runs.execute import Bench, Clock, MakeUnits, run_units
from latent_guard.bench.runs.folder import RECORDS, SUMMARY, RunFolder, planned_records
from latent_guard.bench.runs.grading import grade
from latent_guard.bench.runs.identity import ENVIRONMENT, OF_RUN, SPEC, write_checksums
from latent_guard.bench.runs.pipeline_identity import pipeline_identity
from latent_guard.bench.runs.plan import Plan, plan_of, slug, slugs
from latent_guard.bench.runs.provenance import guard_code, manifest_hash, prompts_hash, provenance
from latent_guard.bench.runs.task_prompts import TaskPrompts, out_of_domain
from latent_guard.bench.spec import Spec
from latent_guard.bench.task import MethodSpec, placed
from latent_guard.bench.world import SHIPPED_WORLD
from latent_guard.files.atomic import write_atomic, writing
from latent_guard.files.documents import json_value, read_json
from latent_guard.files.tables import parquet
from latent_guard.package_data import SHIPPED, SHIPPED_FLOW, SHIPPED_MODELS

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard

OFFICIAL = "official"  # folder of what the evaluators of published benchmarks read
SEEDS = "an image's own generator on the CPU, seeded by its prompt's seed + its number; of a protocol, as that has it"


@dataclass(frozen=True, eq=False)
class Opened:
    """A spec with all that it names, before anything is made; without pipeline and methods where it only grades."""

    bench: Bench
    prompts: TaskPrompts
    plan: Plan
    environment: dict[str, Any]
    grader: PictureCLIP | None


@dataclass(frozen=True)
class Done:
    """What a run came to; ``finished`` is False while other shares are still to be made."""

    images: int
    finished: bool


def open_spec(
    spec: Spec, pipe: Any, bundle: Path, cache: Path, judge: Judge | None = None, guard: LatentGuard | None = None
) -> Opened:
    """Open judge, methods and prompts of a spec, and check that they go together; models go where the pipeline is.

    ``judge`` stands in for the one that the spec names, ``guard`` for the one in ``bundle``.

    Raises:
        InputError: something that the spec names is not there, or a method cannot work with this pipeline; says where
            in the spec it stands.
    """
    graded = open_to_grade(spec, str(pipe.device), judge)
    own = fitted_guards.find(spec.model) or _guard_beside(spec, bundle)
    context = BaselineContext(bundle, cache, str(pipe.device), _checker, given_guard=guard, guard_folder=own)
    methods = {method.label: _method(method, context) for method in spec.methods}
    bench = replace(graded.bench, pipe=pipe, methods=methods)
    bench.check({method.label: graded.prompts.guidance_scales(spec, method) for method in spec.methods})
    environment = {
        **provenance(bundle).to_dict(),
        "guard_code": guard_code(),
        "prompts": prompts_hash(graded.prompts.rows),
        **graded.environment,
        "methods": {name: method.name for name, method in methods.items()},
        "model": _model(spec, pipe),
        **pipeline_identity(pipe),
        **context.identity_of_guard(),
        "scheduler": type(pipe.scheduler).__name__,
        "device": str(pipe.device),
        "seeds": SEEDS,
    }
    return replace(graded, bench=bench, environment=environment)


def open_to_grade(spec: Spec, device: str = "cpu", judge: Judge | None = None) -> Opened:
    """Open judge, grader and prompts of a spec, for images that were made elsewhere.

    ``judge`` stands in for the one that the spec names.

    Raises:
        InputError: one of them is not there.
    """
    prompts = TaskPrompts.of(spec)
    if judge is None:
        with placed(spec.judge):
            judge = open_judge(spec.judge.name, spec.judge.options)
    grader = open_grader(spec.grader, device) if spec.grader else None
    environment = {
        "judge": judge.preset,
        "grader": grader.name if grader else "none",
        **out_of_domain(spec, prompts.rows),
    }
    return Opened(Bench(spec, None, {}, judge), prompts, plan_of(spec, prompts.rows), environment, grader)


def evaluate(
    spec: Spec, pipe: Any, out: Path | str, judge: Judge | None = None, guard: LatentGuard | None = None
) -> dict[str, Any]:
    """Run a spec with a pipeline and give its summary; a run that was stopped is resumed.

    Args:
        spec: what is made and measured.
        pipe: the diffusers pipeline that ``spec.model`` names.
        out: the folder of the run: every image, its record, and ``summary.json``.
        judge: a judge of your own, instead of the one that the spec names.
        guard: of the methods that need one, with the policy that each names, or its own; by default the one that was
            fitted to ``spec.model``, or else lies beside that folder as ``guard/`` and ``bank/``, or ships with it.

    Raises:
        InputError: something that the spec names is not there or cannot work with this pipeline, a method needs a
            guard and there is none, or ``out`` holds another run, or one by another pipeline or guard.
    """
    out = Path(out)
    run(open_spec(spec, pipe, bundle_of(spec), out / "cache", judge, guard), out)
    summary: dict[str, Any] = read_json(out / SUMMARY, "the summary", any_text=True)
    return summary


def bundle_of(spec: Spec) -> Path:
    """The folder that holds what methods are made of, for a spec's model."""
    return SHIPPED_WORLD.bundle() if spec.model in SHIPPED_MODELS else Path(spec.model).absolute().parent


def run(opened: Opened, out: Path, command: str = "", share: tuple[int, int] = (0, 1)) -> Done:
    """Make what is left of a run, or of a share of it; once all is there, grade it and write the figures.

    ``command`` is the command line that asked for it, which the report shows; none where Python did.

    Raises:
        InputError: ``out`` holds another run, or calls of other prompts than the lists now hold.
    """
    return finish(opened, out, command, make(opened, out, share))


def make(
    opened: Opened,
    out: Path,
    share: tuple[int, int] = (0, 1),
    show_progress: bool = True,
    make_units: MakeUnits | None = None,
) -> Clock:
    """Make what is left of a share of a run, and no figures; raises as ``run``.

    What an earlier run left of this share is read once; calls with a damaged file are made again. ``make_units``
    makes the calls elsewhere; without it, this process does.
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
    return run_units(opened.bench, folder, mine, show_progress, make_units)


def finish(opened: Opened, out: Path, command: str = "", clock: Clock | None = None) -> Done:
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
    write_atomic(out / RECORDS, table)
    export(folder, spec, opened.prompts, graded.records)
    looks = folder.looks(opened.plan.units)
    own = {
        **out_of_domain(spec, opened.prompts.rows),
        **_of_protocols(spec, graded.records),
        **({"excluded_without_guidance": excluded} if (excluded := dict(opened.prompts.excluded)) else {}),
        **({"command": command} if command else {}),
    }
    summary = {**summarise(graded, looks, spec.methods), **own}
    if clock and clock.images == opened.plan.images:  # a part of a run says nothing of the whole
        summary["harness_overhead"] = clock.overhead
    figures = (json.dumps(summary, indent=1) + "\n").encode()
    write_atomic(out / SUMMARY, figures)
    contents = {name: (out / name).read_bytes() for name in (SPEC, ENVIRONMENT)}
    environment = json_value(contents[ENVIRONMENT], str(out / ENVIRONMENT))
    write_checksums(out, OF_RUN, {**contents, RECORDS: table, SUMMARY: figures}, environment=environment)
    return Done(len(records), True)


def export(folder: RunFolder, spec: Spec, prompts: TaskPrompts, records: pd.DataFrame) -> None:
    """Write each method's images of each task as the evaluators of its protocol read them, where it has some.

    RUN/official/geneval/00-unguarded/00000/samples/0000.png          GenEval
    RUN/official/color/01-guard/color/samples/a green cat_000000.png  T2I-CompBench

    A folder's name is that of the task, then the method's with its number in the spec.
    """
    names = slugs([task.name for task in spec.tasks])
    for task in spec.tasks:
        if not protocol_of(task).has_evaluator:
            continue
        for place, method in enumerate(spec.methods):
            own = records[(records["task"] == task.name) & (records["method"] == method.label)].sort_values("row")
            numbers = zip(own["row"], own["prompt_index"], strict=True)
            images = ((int(index), folder.pictures([int(row)])[0]) for row, index in numbers)
            out = folder.path / OFFICIAL / names[task.name] / f"{place:02d}-{slug(method.label)}"
            protocol_of(task).export(out, task, prompts.rows[task.name], images)


def _of_protocols(spec: Spec, records: pd.DataFrame) -> dict[str, Any]:
    """What each protocol says of its own tasks, beside the metrics of all."""
    contents: dict[str, Any] = {}
    for protocol in PROTOCOLS.values():
        own = {task: records[records["task"] == task.name] for task in spec.tasks if protocol_of(task) is protocol}
        contents |= protocol.summary(own)
    return contents


def _method(method: MethodSpec, context: BaselineContext) -> Baseline:
    with placed(method):
        return baseline_named(method.name, method.options, context)


def _guard_beside(spec: Spec, bundle: Path) -> Path:
    """Where a guard is looked for if none was fitted; of the models that ship, the flow generator shares none."""
    home = SHIPPED_WORLD.pipeline(spec.model).parent if spec.model == SHIPPED_FLOW else bundle
    return home / "guard"


def _model(spec: Spec, pipe: Any) -> str:
    """The pipeline, with the commit that it was downloaded at, or the hash of its own weights where it ships."""
    if spec.model in SHIPPED_MODELS and spec.model != SHIPPED:
        return f"{spec.model}@{manifest_hash(SHIPPED_WORLD.weights(spec.model))}"
    commit = getattr(pipe.text_encoder.config, "_commit_hash", None)
    return f"{spec.model}@{commit}" if commit else spec.model


def _checker(name: str, options: Mapping[str, Any]) -> Any:
    return open_judge(name, options)
