"""What an iteration of ReNO costs with a reward that reads latents, and with one that needs the image decoded.

    python benchmarks/reno_cost.py                        # arithmetic anywhere, Emoji World's seconds, a GPU's if any
    python benchmarks/reno_cost.py --miniature --out /tmp # everything in miniature, in a minute: does it run?

SDXL-Turbo at 512 px, one step, one image, random weights, bfloat16 with rewards in float32: GFLOP and the GiB that are
kept for the way back are counted on the meta device; seconds and peak memory, of one iteration and of a run of 50, are
measured where there is a GPU. Emoji World's few-step generator is timed on whatever device there is, in float32 on a
CPU. Works are interleaved.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from published import FACTOR
from reno_parts import REWARDS, RenoParts
from rich.console import Console
from rich.table import Table
from tables import show_and_keep
from timing import Timing, Work, in_turns

from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.bench.baselines.reno import rewards_named
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row, not_measured
from latent_guard.bench.runs.provenance import provenance
from latent_guard.files.atomic import write_atomic
from latent_guard.loading import load_pipeline
from latent_guard.package_data import SHIPPED_FEW_STEP
from latent_guard.reno.optimise import RenoSettings, optimise_noise
from latent_guard.reno.reward_names import LATENT_CLIP, PIXEL_CLIP
from latent_guard.reno.rewards import Reward
from latent_guard.worlds.emoji.bundle import bundle_folder

RESULTS = Path(__file__).parent / "results"
ITERATIONS, RUNS, BUDGET_S = 50, 10, 300.0
SDXL, EMOJI = "SDXL-Turbo 512 px", "Emoji World"
OURS, THEIRS = "Latent-ViT B/8", "pixel CLIP B/32"


@dataclass(frozen=True)
class Line:
    """One reward in one model; None where nothing was run or counted."""

    model: str
    reward: str
    device: str
    iteration_gflop: float | None
    kept_gib: float | None
    weights_gib: float | None
    iteration_s: float | None
    run_s: float | None
    peak_gib: float | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Count, measure, print and store."""
    options = _options(arguments)
    diffusers_logging.set_verbosity_error()
    torch.manual_seed(0)
    counted = count(options.miniature)
    seconds: dict[str, dict[str, Timing]] = {EMOJI: emoji_world(options)}
    if torch.cuda.is_available():
        seconds[SDXL] = sdxl_turbo(options.miniature, options)
    lines, rows = _lines(counted, seconds), [*of_arithmetic(counted), *of_seconds(seconds)]
    settings = {"runs": options.runs, "budget_s": options.budget, "iterations": options.iterations}
    made = {"made_by": provenance().to_dict(), "settings": settings, "lines": [asdict(line) for line in lines]}
    write_atomic(
        options.out / "reno_cost.json",
        (json.dumps({**made, "rows": [asdict(row) for row in rows]}, indent=1) + "\n").encode(),
    )
    show_and_keep(_table(lines), options.out / "reno_cost.csv")
    for row in rows:
        Console(markup=False).print(f"{row.what}: {row.measured} (target {row.target})", soft_wrap=True)


def count(miniature: bool) -> list[Line]:
    """Every reward's iteration on the meta device."""
    parts, lines = RenoParts("meta", torch.bfloat16, miniature), []
    for name in REWARDS:
        found = parts.count(name)
        lines.append(
            Line(SDXL, name, "counted", found.gflop, found.kept_gib, parts.weights_gib(name), None, None, None)
        )
    return lines


def sdxl_turbo(miniature: bool, options: argparse.Namespace) -> dict[str, Timing]:
    """Every reward's iteration and run on the GPU."""
    parts = RenoParts("cuda", torch.bfloat16, miniature)
    rewards = {name: parts.reward(name) for name in REWARDS}
    found = timed(parts.pipe, rewards, options, **turbo(parts))
    return {work: _without_other_towers(work.partition(",")[0], timing, parts) for work, timing in found.items()}


def turbo(parts: RenoParts) -> dict[str, Any]:
    """How SDXL-Turbo is called: without guidance, one row of the denoiser an image."""
    side = FACTOR * parts.side
    return {"height": side, "width": side, "guidance_scale": 0.0}


def _without_other_towers(name: str, timing: Timing, parts: RenoParts) -> Timing:
    """The towers of all rewards lie on the GPU at once, for turns; a run of one of them needs its own alone."""
    if timing.peak_gib is None:
        return timing
    others = sum(parts.tower_gib(other) for other in REWARDS if other != name)
    return replace(timing, peak_gib=timing.peak_gib - others)


def emoji_world(options: argparse.Namespace) -> dict[str, Timing]:
    """The latent and the pixel reward of the world's own, one image."""
    pipe = load_pipeline(SHIPPED_FEW_STEP, 4, 1, half="bfloat16")
    context = BaselineContext(bundle_folder(), options.out, str(pipe.device))
    rewards = {name: rewards_named(name, context)[0] for name in (LATENT_CLIP, PIXEL_CLIP)}
    return timed(pipe, rewards, options, guidance_scale=1.0)


def timed(pipe: Any, rewards: dict[str, Reward], options: argparse.Namespace, **arguments: Any) -> dict[str, Timing]:
    """``NAME`` of a run; ``NAME, two`` and ``NAME, one`` of runs that go back so often, an iteration apart."""

    def run(reward: Reward, iterations: int) -> None:
        settings = RenoSettings(iterations)
        optimise_noise(pipe, "a cat", [reward], settings, seed=0, output_type="latent", **arguments)

    lengths = {"": options.iterations, ", two": 3, ", one": 2}
    works: dict[str, Work] = {
        name + end: partial(run, reward, length) for name, reward in rewards.items() for end, length in lengths.items()
    }
    return in_turns(works, options.runs, options.budget)


def _lines(counted: Sequence[Line], seconds: dict[str, dict[str, Timing]]) -> list[Line]:
    device, lines = _device_name(), list(counted)
    for model, timed in seconds.items():
        for name in (name for name in timed if ", " not in name):
            one, run = _iteration(timed, name), timed[name]
            lines.append(Line(model, name, device, None, None, None, one, run.median, run.peak_gib))
    return lines


def _iteration(timed: dict[str, Timing], name: str) -> float:
    """Seconds of one forward and backward: a run of n draws goes n - 1 times back."""
    return timed[f"{name}, two"].median - timed[f"{name}, one"].median


def of_arithmetic(counted: Sequence[Line]) -> list[Row]:
    """How much less a latent reward computes and keeps than the smallest pixel one."""
    by_name = {line.reward: line for line in counted}
    ours, theirs = by_name[OURS], by_name[THEIRS]
    rows = []
    for what, unit, of in (
        ("arithmetic of an iteration", "GFLOP", lambda line: line.iteration_gflop),
        (
            "memory of an iteration, weights and what is kept for the way back",
            "GiB",
            lambda line: line.kept_gib + line.weights_gib,
        ),
    ):
        less = 1 - of(ours) / of(theirs)
        note = f"{of(ours):,.1f} and {of(theirs):,.1f} {unit}; counted on the meta device, not run"
        rows.append(
            Row(f"{SDXL}, ReNO with {OURS} against {THEIRS}: {what}", "reported", f"{less:.0%} less", 1, True, note)
        )
    return rows


def of_seconds(seconds: dict[str, dict[str, Timing]]) -> list[Row]:
    """The same in seconds of a whole run, and in peak memory where a GPU tells it."""
    rows = []
    for model, ours, theirs, least in ((SDXL, OURS, THEIRS, 0.4), (EMOJI, LATENT_CLIP, PIXEL_CLIP, None)):
        timed, what = seconds.get(model), f"{model}, ReNO with {ours} against {theirs}"
        if timed is None:
            targets = {"seconds of a run": ">= 40% less", "peak memory": ">= 30% less"}
            rows += [not_measured(f"{what}: {of}", target, "no GPU was at hand") for of, target in targets.items()]
            continue
        ratio = bootstrap.median_ratio(timed[ours].seconds, timed[theirs].seconds)
        measured = f"{1 - ratio.value:.0%} less ({1 - ratio.high:.0%} to {1 - ratio.low:.0%})"
        note = f"medians {timed[ours].median:.3g} s and {timed[theirs].median:.3g} s; {_device_name()}"
        reached = True if least is None else 1 - ratio.value >= least
        target = "reported" if least is None else f">= {least:.0%} less"
        rows.append(Row(f"{what}: seconds of a run", target, measured, ratio.count, reached, note))
        peaks = timed[ours].peak_gib, timed[theirs].peak_gib
        if model == SDXL and peaks[0] and peaks[1]:
            less = 1 - peaks[0] / peaks[1]
            note = f"{peaks[0]:.2f} and {peaks[1]:.2f} GiB"
            rows.append(Row(f"{what}: peak memory", ">= 30% less", f"{less:.0%} less", 1, less >= 0.3, note))
    return rows


def _table(lines: Sequence[Line]) -> Table:
    table = Table(title="ReNO, one image, one step")
    for name in Line.__dataclass_fields__:
        table.add_column(name.replace("_", " "), justify="left" if name in ("model", "reward", "device") else "right")
    for line in lines:
        table.add_row(
            *(f"{value:,.4g}" if isinstance(value, float) else str(value or "") for value in asdict(line).values())
        )
    return table


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Seconds, memory and arithmetic of noise optimisation.")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each work, after one to warm up ({RUNS})")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds after which a model is run no more")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help=f"of a run ({ITERATIONS})")
    parser.add_argument("--miniature", action="store_true", help="small models, to see that everything runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write into")
    options = parser.parse_args(arguments)
    if options.miniature and options.out == RESULTS:
        parser.error("--miniature needs --out: its figures mean nothing beside the others")
    return options


if __name__ == "__main__":
    main()
