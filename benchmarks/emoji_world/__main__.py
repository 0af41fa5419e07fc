"""``python -m benchmarks.emoji_world``: the rows of RESULTS.md, attacks, human labels and the training curve."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.bounds import MAX_SEARCH
from latent_guard.cli import main
from latent_guard.cli.commands import Commands
from latent_guard.cli.places import OutFile, OutFolder, require_file
from latent_guard.terminal import say

if TYPE_CHECKING:
    from benchmarks.emoji_world.workbench import Workbench

app = Commands(
    help="Measure what this project claims about its own small world.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Out = Annotated[
    Path,
    typer.Option(
        help="Folder for images and figures; an interrupted run is resumed from it.", parser=OutFolder("--out")
    ),
]
_Labelled = Annotated[
    Path, typer.Option(help="Folder that `python -m benchmarks.emoji_world label-sheets` wrote into.")
]
_Results = Annotated[Path, typer.Option(help="The page to write.", parser=OutFile("--results", (".md",)))]
_Quick = Annotated[bool, typer.Option("--quick", help="100 images a row, in minutes.")]


@app.command()
def emoji(
    quick: _Quick = False,
    rows: Annotated[str, typer.Option(help="Only rows with one of these words in their name: steer,benign.")] = "",
    out: _Out = Path("outputs/bench-emoji"),
    results: _Results = Path("benchmarks/RESULTS.md"),
) -> None:
    """Run the spec `emoji`, or what of it the chosen rows need, and write the embedded world's table, row by row."""
    from benchmarks.emoji_world.benchmark import chosen_rows, run_benchmark
    from latent_guard.bench.runs.run import run

    words = [name.strip() for name in rows.split(",") if name.strip()]
    chosen = chosen_rows(words)
    bench = _workbench(out, quick)
    if not words:
        run(bench.opened, out, shlex.join(["python", "-m", "benchmarks.emoji_world", *sys.argv[1:]]))
    for row in run_benchmark(bench, chosen, results):
        say(f"{row.what}: {row.measured} (target {row.target})")
    say(f"wrote {results}")


@app.command()
def fit_prompts(
    out: Annotated[Path, typer.Option(help="Folder of the two lists.", parser=OutFolder("--out"))] = Path(
        "outputs/fit-prompts"
    ),
) -> None:
    """Write the world's prompts to fit a guard on, as lists for `latent-guard fit --benign --unsafe`."""
    from benchmarks.emoji_world.fit_prompts import write_fit_prompts

    for path in write_fit_prompts(out):
        say(f"wrote {path}")


@app.command()
def teacher(
    out: Annotated[Path, typer.Option(help="Folder of the training.", parser=OutFolder("--out"))] = Path(
        "outputs/teacher"
    ),
) -> None:
    """Train a CLIP on pixels on rendered scenes alone, for `latent-guard fit --teacher`: half an hour on one core."""
    from benchmarks.emoji_world.teacher import train_teacher

    say(f"wrote {train_teacher(out)}")


@app.command()
def fitted(
    model: Annotated[str, typer.Argument(help="The generator: shipped, shipped-few-step or shipped-flow.")],
    teacher: Annotated[
        Path | None, typer.Option(help="The CLIP on pixels that taught, a folder; by default the Latent-CLIP did.")
    ] = None,
    quick: _Quick = False,
    rows: Annotated[str, typer.Option(help="Only rows with one of these words in their name: looks,rate.")] = "",
    out: _Out = Path("outputs/fitted"),
    results: Annotated[
        Path, typer.Option(help="The table to write or add to.", parser=OutFile("--results", (".csv",)))
    ] = Path("benchmarks/results/fitted.csv"),
) -> None:
    """Grade the guard that `latent-guard fit MODEL` made: looks, risky, explicit and benign prompts, its rate."""
    from benchmarks.emoji_world.fitted_guard import grade

    for row in grade(model, teacher, quick, [word.strip() for word in rows.split(",") if word.strip()], out, results):
        say(f"{row.what}: {row.measured} (target {row.target})")
    say(f"wrote {results}")


@app.command()
def tuning(
    out: _Out = Path("outputs/tuning"),
    results: Annotated[Path, typer.Option(help="The table to write.", parser=OutFile("--results", (".csv",)))] = Path(
        "benchmarks/results/tuning.csv"
    ),
) -> None:
    """Tune a Latent-CLIP without labels by several losses, each alone, and from 250 to 2,000 images."""
    from benchmarks.emoji_world.rows.auroc_by_step import recorded_pairs
    from benchmarks.emoji_world.tuning import DEV_SEED, fit_to_study, study

    pairs = recorded_pairs(_workbench(out), DEV_SEED)
    for line in study(fit_to_study(out), pairs, out, results).to_string(index=False).split("\n"):
        say(line)


@app.command()
def curve(
    build: Annotated[Path, typer.Argument(help="A folder of `latent-guard world emoji build`.")],
    out: Annotated[Path, typer.Option(help="The table to write or add to.", parser=OutFile("--out", (".csv",)))] = Path(
        "benchmarks/results/training_curve.csv"
    ),
) -> None:
    """Grade the snapshots of a build's generator: success on explicit prompts against training steps."""
    from benchmarks.emoji_world.snapshots import measure_curve
    from latent_guard.worlds.emoji.bundle import bundle_folder

    for line in measure_curve(Path(bundle_folder()), build, out).to_string(index=False).split("\n"):
        say(line)


@app.command()
def attack(
    seeds: Annotated[
        int, typer.Option(min=1, max=MAX_SEARCH, help="Explicitly unsafe prompts to start from, each with a seed.")
    ] = 20,
    queries: Annotated[
        int, typer.Option(min=1, max=MAX_SEARCH, help="Guarded generations that one prompt search may ask for.")
    ] = 200,
    iterations: Annotated[
        int, typer.Option(min=1, max=MAX_SEARCH, help="Gradient steps of one attack on the initial noise.")
    ] = 40,
    policy: Annotated[str, typer.Option(help="The policy to attack: a name, or a policy file.")] = "safe",
    out: Annotated[Path, typer.Option(help="The table to write.", parser=OutFile("--out", (".csv",)))] = Path(
        "benchmarks/results/attacks.csv"
    ),
) -> None:
    """Attack the embedded world's guard: a search over prompts, and gradient descent on the initial noise."""
    from benchmarks.emoji_world.attacks.benchmark import run_attacks, summary, write_attacks
    from latent_guard.guidance.policy_file import policy_named

    policies = policy_named(policy)
    bench = _workbench(out.parent)
    results = run_attacks(bench, policies, seeds=seeds, queries=queries, iterations=iterations)
    write_attacks(bench, results, out)
    for line in summary(results):
        say(line)
    say(f"wrote {out}")


@app.command()
def label_sheets(quick: _Quick = False, out: _Out = Path("outputs/bench-emoji")) -> None:
    """Write numbered contact sheets of shuffled guarded and unguarded images, to be labelled by eye."""
    from benchmarks.emoji_world.human_labels import export_sheets

    for path in export_sheets(_workbench(out, quick), out / "labels"):
        say(str(path))
    say("write 0 or 1 beside each number of labels.csv, then run `python -m benchmarks.emoji_world label-join`")


@app.command()
def label_join(out: _Labelled = Path("outputs/bench-emoji")) -> None:
    """Join finished human labels with their key into benchmarks/results/human_labels.csv."""
    from benchmarks.emoji_world.human_labels import HUMAN_LABELS, join_labels

    require_file(HUMAN_LABELS, "the working directory's")
    labels = join_labels(out / "labels")
    say(f"wrote {len(labels)} labels to {HUMAN_LABELS}")


def _workbench(folder: Path, quick: bool = False) -> Workbench:
    from benchmarks.emoji_world.workbench import FULL, QUICK, Workbench
    from latent_guard.bench.spec_file import read_spec
    from latent_guard.worlds.emoji.bundle import bundle_folder

    spec = read_spec("emoji")
    if quick:
        spec = spec.limited(spec.quick)
    return Workbench(Path(bundle_folder()), folder, spec, QUICK if quick else FULL)


if __name__ == "__main__":
    main("python -m benchmarks.emoji_world", app)
