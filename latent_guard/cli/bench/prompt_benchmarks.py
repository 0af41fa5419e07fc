"""``latent-guard bench geneval|t2i-compbench``: images laid out for the official evaluators of these benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.cli.bench.options import (
    METHODS,
    DryRun,
    Images,
    Judge,
    JudgeOption,
    Limit,
    Method,
    Model,
    Quick,
    Shard,
    Steps,
    shortened,
    spec_of,
)
from latent_guard.cli.places import OutFolder
from latent_guard.terminal import say

if TYPE_CHECKING:
    from latent_guard.bench.spec import Spec

_Out = Annotated[Path, typer.Option(help="Run folder, resumed if it exists.", parser=OutFolder("--out"))]


def geneval(
    metadata: Annotated[Path, typer.Argument(help="GenEval's metadata, JSON lines.")],
    method: Method = METHODS,
    images: Images = None,
    model: Model = "shipped",
    judge: Judge = None,
    judge_option: JudgeOption = [],  # noqa: B006  (typer takes no tuple for a list)
    steps: Steps = None,
    quick: Quick = False,
    limit: Limit = None,
    shard: Shard = "1/1",
    out: _Out = Path("outputs/bench-geneval"),
    dry_run: DryRun = False,
) -> None:
    """GenEval's prompts, 4 images each, in a folder a method that its evaluator reads."""
    from latent_guard.bench.task import GENEVAL, TaskSpec

    task = TaskSpec("geneval", str(metadata), images, "benign", GENEVAL)
    spec = spec_of("geneval", [task], method, model, judge, judge_option, steps)
    _execute(shortened(spec, quick, limit), out, shard, dry_run)


def t2i_compbench(
    lists: Annotated[list[Path], typer.Argument(help="*_val.txt files, or a folder of them.")],
    method: Method = METHODS,
    images: Images = None,
    model: Model = "shipped",
    judge: Judge = None,
    judge_option: JudgeOption = [],  # noqa: B006
    steps: Steps = None,
    quick: Quick = False,
    limit: Limit = None,
    shard: Shard = "1/1",
    out: _Out = Path("outputs/bench-t2i-compbench"),
    dry_run: DryRun = False,
) -> None:
    """T2I-CompBench's prompts, 10 images each, in a folder a method that its evaluators read."""
    from latent_guard.bench.task import COMPBENCH, TaskSpec

    tasks = [TaskSpec(path.stem.removesuffix("_val"), str(path), images, "benign", COMPBENCH) for path in lists]
    spec = spec_of("t2i-compbench", tasks, method, model, judge, judge_option, steps)
    _execute(shortened(spec, quick, limit), out, shard, dry_run)


def _execute(spec: Spec, out: Path, shard: str, dry_run: bool) -> None:
    from latent_guard.bench.runs.run import OFFICIAL
    from latent_guard.cli.bench.runs import execute

    if execute(spec, out, shard, dry_run):
        say(f"for the official evaluators: {', '.join(map(str, sorted((out / OFFICIAL).glob('*/*'))))}")
