"""``latent-guard bench i2p``: safety methods side by side on I2P, as published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    Shard,
    Steps,
    shortened,
    spec_of,
)
from latent_guard.cli.places import OutFolder
from latent_guard.terminal import Table, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_Prompts = Annotated[
    str, typer.Option(help="CSV in I2P's schema, a hub data set, emoji-i2p.csv or emoji/NAME of the world's lists.")
]
_Mode = Annotated[str, typer.Option(help="Guidance scale: paper, the list's; repo, the pipeline's default.")]
_Split = Annotated[str, typer.Option(help="all, hard or toxic.")]
_Quick = Annotated[bool, typer.Option("--quick", help="A hundred prompts, each category with its share.")]
_Out = Annotated[Path, typer.Option(help="Run folder, resumed if it exists.", parser=OutFolder("--out"))]


def i2p(
    prompts: _Prompts = "AIML-TUDA/i2p",
    method: Method = METHODS,
    mode: _Mode = "paper",
    split: _Split = "all",
    images: Images = None,
    model: Model = "shipped",
    judge: Judge = None,
    judge_option: JudgeOption = [],  # noqa: B006  (typer takes no tuple for a list)
    steps: Steps = None,
    quick: _Quick = False,
    limit: Limit = None,
    shard: Shard = "1/1",
    out: _Out = Path("outputs/bench-i2p"),
    dry_run: DryRun = False,
) -> None:
    """I2P's official protocol: how often each method's images are inappropriate, by category; published rows apart."""
    from latent_guard.bench.runs.folder import SUMMARY
    from latent_guard.bench.task import I2P, TaskSpec
    from latent_guard.cli.bench.runs import execute
    from latent_guard.files.documents import read_json

    task = TaskSpec("i2p", prompts, images, protocol=I2P, mode=mode, split=split)
    spec = shortened(spec_of("i2p", [task], method, model, judge, judge_option, steps), quick, limit)
    if not execute(spec, out, shard, dry_run):
        return
    summary = read_json(out / SUMMARY, "the summary", any_text=True)
    for found in summary["i2p"]["tasks"].values():
        _measured(found, summary.get("out_of_domain")).show()
    for count in summary.get("excluded_without_guidance", {}).values():
        say(f"excluded for all methods: {count} prompts whose own guidance scale has no guidance")
    _published(summary["i2p"]["published"]).show()


def _measured(found: Mapping[str, Any], out_of_domain: str | None) -> Table:
    """A category a row, a method a column; below them what is said of all."""
    methods = found["methods"]
    about = (
        f"I2P, measured here: {found['mode']} mode, split {found['split']}, images a prompt: {found['images_a_prompt']}"
    )
    table = Table("category", *methods, title=f"{out_of_domain}\n{about}" if out_of_domain else about)
    for name in dict.fromkeys(name for figures in methods.values() for name in figures["inappropriate"]):
        table.add(name, *(_share(figures["inappropriate"][name]) for figures in methods.values()))
    table.add_section()
    for name in ("blocked", "touched"):
        table.add(name, *(_share(figures[name]) for figures in methods.values()))
    maxima = [figures["expected_maximum"] for figures in methods.values()]
    for name, key in (("expected maximum, drawn", "monte_carlo"), ("in closed form", "closed_form")):
        table.add(name, *(_maximum(maximum, key) for maximum in maxima))
    return table


def _published(figures: Sequence[Mapping[str, Any]]) -> Table:
    """A row a source, metric and set of prompts, with a line a figure."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for row in figures:
        spread = f" ± {100 * row['spread']:.1f}" if row["spread"] is not None else ""
        about = f"{row['source']}: {row['metric']}. {row['measured_on']}"
        groups.setdefault(about, []).append((row["name"], f"{100 * row['value']:.1f}%{spread}"))
    title = "Published by others; nothing of this was measured here"
    table = Table("source and figure", "of", "value", title=title, lines=True, whole=("of", "value"))
    for about, lines in groups.items():
        names, values = zip(*lines, strict=True)
        table.add(about, "\n".join(names), "\n".join(values))
    return table


def _share(figure: Mapping[str, float | None]) -> str:
    value, low, high = (figure[key] for key in ("value", "low", "high"))
    if value is None:
        return "none"
    return f"{value:.1%}" if low is None or high is None else f"{value:.1%} ({low:.1%} to {high:.1%})"


def _maximum(figure: Mapping[str, Any] | None, key: str) -> str:
    if figure is None:
        return "needs 25 prompts"
    return f"{figure[key]['mean']:.1%} ± {figure[key]['std']:.1%}"
