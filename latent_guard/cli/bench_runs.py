"""``latent-guard bench run|list|report``: any spec, what ships, and the report of a finished run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from latent_guard.bench.runs import Done, Opened
    from latent_guard.bench.spec import Spec

_Spec = Annotated[str, typer.Argument(help="YAML spec, or one that ships; see `latent-guard bench list`.")]
_Out = Annotated[Path | None, typer.Option(help="Run folder, gone on with if it exists.  [default: outputs/NAME]")]
_Shard = Annotated[str, typer.Option(help="This machine's share: 1/4 to 4/4, with one --out that all see.")]


def run(
    spec: _Spec,
    out: _Out = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many images a task; of I2P's and the like, prompts.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The spec's own small number of images a task.")] = False,
    shard: _Shard = "1/1",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be made, and make nothing.")] = False,
) -> None:
    """Generate by every method of a spec, judge every image, write figures and report. A killed run goes on."""
    from latent_guard.bench.spec import Spec

    chosen = Spec.read(spec)
    if quick:
        chosen = chosen.in_short()
    if limit:
        chosen = chosen.limited(limit)
    carry_out(chosen, out or Path("outputs") / f"bench-{chosen.name}", shard, dry_run)


def carry_out(spec: Spec, folder: Path, shard: str, dry_run: bool) -> bool:
    """Make a share of a run, or only say what it would be; True once all of the run is there, report included."""
    from latent_guard.training.encode_plan import Worker

    worker = Worker.of(shard, 0, 1)
    if dry_run:
        _say_plan(spec)
        return False
    return _make(_opened(spec, folder), folder, (worker.index, worker.count))


def list_specs() -> None:
    """Name the specs that ship, with their tasks and methods."""
    from latent_guard.bench.spec import Spec
    from latent_guard.shipped import benchmark_specs

    for name in benchmark_specs():
        spec = Spec.read(name)
        tasks = ", ".join(f"{task.name} ({task.images or 'each once'})" for task in spec.tasks)
        typer.echo(f"{name}: {tasks}; {', '.join(arm.name for arm in spec.arms)}")


def report(
    folder: Annotated[Path, typer.Argument(help="A finished run folder.", metavar="RUN")],
    out: Annotated[Path | None, typer.Option(help="Where to write it.  [default: into the run]")] = None,
    most: Annotated[
        int | None, typer.Option(min=2, help="Images that the page shows; 300 and fewer lie in it.")
    ] = None,
) -> None:
    """Write the report of a run: HTML that needs no network, Markdown and CSV."""
    from latent_guard.report.write import write_report

    typer.echo(f"wrote {write_report(folder, out, most).html}")


def _say_plan(spec: Spec) -> None:
    from latent_guard.bench.plan import plan_of
    from latent_guard.bench.runs import prompts_of

    prompts = prompts_of(spec)
    plan = plan_of(spec, prompts)
    for task in spec.tasks:
        units = [unit for unit in plan.units if unit.task is task]
        images = sum(len(unit.jobs) for unit in units) // len(spec.arms)
        typer.echo(f"{task.name}: {images} images of {len(prompts[task.name])} prompts, by each of {len(spec.arms)}")
    typer.echo(f"{plan.images} images in {plan.calls} calls of {spec.steps} steps; methods:")
    for arm in spec.arms:
        typer.echo(f"  {arm.name}")


def _opened(spec: Spec, folder: Path) -> Opened:
    from latent_guard.bench.runs import open_spec
    from latent_guard.bench.spec import SHIPPED
    from latent_guard.cli.loading import load_pipeline
    from latent_guard.cli.outputs import check_writable
    from latent_guard.worlds.emoji.bundle import bundle_folder

    check_writable(folder)
    shipped = spec.model == SHIPPED
    pipe = load_pipeline(None if shipped else spec.model)
    pipe.set_progress_bar_config(disable=True)
    bundle = Path(bundle_folder()) if shipped else Path(spec.model).absolute().parent
    return open_spec(spec, pipe, bundle, folder / "cache")


def _make(opened: Opened, folder: Path, share: tuple[int, int]) -> bool:
    from latent_guard.bench.runs import run as make
    from latent_guard.report.write import write_report

    done: Done = make(opened, folder, shlex.join(["latent-guard", *sys.argv[1:]]), share)
    if not done.finished:
        typer.echo(f"{folder} holds {done.images} of {opened.plan.images} images; others are still to be made")
        return False
    typer.echo(f"{folder} holds {done.images} images; wrote {write_report(folder).html}")
    return True
