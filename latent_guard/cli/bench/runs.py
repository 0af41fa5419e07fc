"""``latent-guard bench run|merge|list|report``: any spec, its shards, what ships, and the report of a finished run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.bounds import MAX_IMAGES
from latent_guard.cli.on_ray import RayAddress, require_one_way_to_share
from latent_guard.cli.places import OutFolder, require_folder
from latent_guard.terminal import Table, say

if TYPE_CHECKING:
    from accelerate import PartialState

    from latent_guard.bench.runs.cost_estimate import MethodCost
    from latent_guard.bench.runs.execute import Clock
    from latent_guard.bench.runs.run import Opened
    from latent_guard.bench.spec import Spec

_Spec = Annotated[str, typer.Argument(help="YAML spec, or one that ships; see `latent-guard bench list`.")]
_Out = Annotated[
    Path | None,
    typer.Option(help="Run folder, resumed if it exists.  [default: outputs/NAME]", parser=OutFolder("--out")),
]
_Shard = Annotated[
    str,
    typer.Option(help="This machine's share: 1/4 to 4/4, with one --out that all see; else `bench merge` joins them."),
]
_DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say what would be made and what it costs, and make nothing. Seconds are those of images that --out "
        "already holds; before the first, images and denoiser evaluations alone are known.",
    ),
]


def run(
    spec: _Spec,
    out: _Out = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_IMAGES, help="At most this many images a task; of I2P's and the like, prompts."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The spec's own small number of images a task.")] = False,
    shard: _Shard = "1/1",
    ray: RayAddress = None,
    dry_run: _DryRun = False,
) -> None:
    """Generate by every method of a spec, judge every image, write figures and report. A killed run is resumed.

    `accelerate launch -m latent_guard bench run ...` shares the work between processes, `--shard` between machines;
    `--ray` does both.
    """
    require_one_way_to_share(ray, shard)
    from latent_guard.bench.spec_file import read_spec

    chosen = read_spec(spec)
    if quick:
        chosen = chosen.in_short()
    if limit:
        chosen = chosen.limited(limit)
    folder = out or Path("outputs") / f"bench-{chosen.name}"
    if ray and not dry_run:
        _make_on_ray(chosen, folder, ray)
    else:
        execute(chosen, folder, shard, dry_run)


def execute(spec: Spec, folder: Path, shard: str, dry_run: bool) -> bool:
    """Make a share of a run, or only say what it would be; True once all of the run is there, report included."""
    from latent_guard.sharding import Worker

    worker = Worker.of(shard, 0, 1)
    if dry_run:
        _say_plan(spec, folder, (worker.index, worker.count))
        return False
    return _make(_opened(spec, folder), folder, (worker.index, worker.count))


def merge(
    runs: Annotated[list[Path], typer.Argument(help="Folders that shards of one run were made in.", metavar="RUN...")],
    out: Annotated[Path, typer.Option(help="The run's folder, resumed if it exists.", parser=OutFolder("--out"))],
) -> None:
    """Put shards of a run together; once all images are there, write figures and report.

    Files are linked rather than copied where the file system can. A merge that is stopped is resumed.
    """
    from latent_guard.bench.runs.folder import RunFolder
    from latent_guard.bench.runs.merge import Shard, common_environment, spec_of
    from latent_guard.bench.runs.merge import merge as merge_shards
    from latent_guard.bench.runs.run import open_to_grade

    spec = spec_of(runs)
    shards = [Shard.read(run, spec) for run in runs]
    environment = common_environment(shards)
    opened = open_to_grade(spec)
    merge_shards(shards, RunFolder.open(out, spec, environment), opened.plan)
    _finish(opened, out)


def list_specs() -> None:
    """Name the specs that ship, with their tasks and methods."""
    from latent_guard.bench.spec_file import read_spec
    from latent_guard.package_data import benchmark_specs

    for name in benchmark_specs():
        spec = read_spec(name)
        tasks = ", ".join(f"{task.name} ({task.images or 'each once'})" for task in spec.tasks)
        methods = ", ".join(dict.fromkeys(method.name for method in spec.methods))
        say(f"{name}: {tasks}; {len(spec.methods)} methods: {methods}")


def report(
    folder: Annotated[Path, typer.Argument(help="A finished run folder.", metavar="RUN")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write it.  [default: into the run]", parser=OutFolder("--out"))
    ] = None,
    max_images: Annotated[
        int | None, typer.Option(min=2, max=MAX_IMAGES, help="Images that the page shows; 300 and fewer lie in it.")
    ] = None,
) -> None:
    """Write the report of a run: HTML that needs no network, Markdown and CSV."""
    from latent_guard.report.write import write_report

    say(f"wrote {write_report(folder, out, max_images).html}")


def _say_plan(spec: Spec, folder: Path, share: tuple[int, int]) -> None:
    from latent_guard.bench.runs.cost_estimate import bytes_an_image, method_costs
    from latent_guard.bench.runs.folder import RunFolder
    from latent_guard.bench.runs.plan import plan_of
    from latent_guard.bench.runs.task_prompts import TaskPrompts

    prompts = TaskPrompts.of(spec).rows
    plan = plan_of(spec, prompts)
    for task in spec.tasks:
        methods = len(task.methods or spec.methods)
        images = sum(len(unit.jobs) for unit in plan.units if unit.task is task) // methods
        say(f"{task.name}: {images} images of {len(prompts[task.name])} prompts, by each of {methods}")
    say(f"{plan.images} images in {plan.calls} calls of {spec.steps} steps")
    if share[1] > 1:
        say(f"of which this share ({share[0] + 1}/{share[1]}) is:")
    found = RunFolder.found(folder, spec)
    _say_costs(method_costs(spec, plan.share(*share), found), bytes_an_image(spec, found))


def _say_costs(costs: Sequence[MethodCost], size: int | None) -> None:
    table = Table("method", "images", "calls", "left", "evaluations left, at least", "s an image", "time left")
    for cost in costs:
        counts = cost.images, cost.calls, cost.left, cost.evaluations
        seconds = "?" if cost.seconds is None else f"{cost.seconds:.3g}"
        table.add(cost.method, *(f"{count:,}" for count in counts), seconds, _time(cost.seconds_left))
    table.show()
    known = [cost.seconds_left for cost in costs if cost.seconds_left is not None]
    whole = _time(sum(known)) if len(known) == len(costs) else "not known before each method has made an image"
    images = sum(cost.left for cost in costs)
    disk = "not known before the first image" if size is None else f"about {size * images / 1e6:,.1f} MB"
    say(f"time left: {whole}; disk for {images:,} images: {disk}")


def _time(seconds: float | None) -> str:
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))


def _opened(spec: Spec, folder: Path) -> Opened:
    from latent_guard.serving.bulk.benchmark import opened_spec

    require_folder(folder, "--out")
    state = _state()
    with state.main_process_first():  # what methods keep in the cache is made once
        return opened_spec(spec, folder / "cache", str(state.device))


def _make_on_ray(spec: Spec, folder: Path, address: str) -> None:
    """Have the workers of a Ray cluster make a run; this process keeps what they make, and loads no pipeline."""
    from functools import partial

    from latent_guard.bench.runs.run import make, open_to_grade
    from latent_guard.serving.bulk.benchmark import BenchJob, EnvironmentJob
    from latent_guard.serving.bulk.cluster import connected
    from latent_guard.serving.bulk.pool import results_of

    require_folder(folder, "--out")
    cache = folder.absolute() / "cache"
    with connected(address):
        (environment,) = results_of(EnvironmentJob(spec, cache), [None])
        opened = replace(open_to_grade(spec), environment=environment)
        make(opened, folder, make_units=partial(results_of, BenchJob(spec, cache, environment)))
    _finish(opened, folder)


def _make(opened: Opened, folder: Path, share: tuple[int, int]) -> bool:
    """Make a machine's share, each of its processes a part of it; the main one says what it came to."""
    from latent_guard.bench.runs.run import make

    state = _state()
    index, count = share[0] * state.num_processes + state.process_index, share[1] * state.num_processes
    clock = make(opened, folder, (index, count), show_progress=state.is_main_process)
    state.wait_for_everyone()
    finished = state.is_main_process and _finish(opened, folder, clock)
    state.destroy_process_group()
    return finished


def _finish(opened: Opened, folder: Path, clock: Clock | None = None) -> bool:
    from latent_guard.bench.runs.run import finish
    from latent_guard.report.write import write_report

    done = finish(opened, folder, shlex.join(["latent-guard", *sys.argv[1:]]), clock)
    if done.finished:
        say(f"{folder} holds {done.images} images; wrote {write_report(folder).html}")
    else:
        missing = opened.plan.images - done.images
        say(f"{folder} holds {done.images} of {opened.plan.images} images; {missing} are still to be made")
    return done.finished


def _state() -> PartialState:
    """This process among those of a launcher, its GPU chosen: whatever asks for a GPU from here on gets that one."""
    import torch
    from accelerate import PartialState

    # Shares are of equal size, yet one of them may have been begun before: the others wait for as long as it takes.
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=7))
