"""What the guard costs at the size of published models: seconds, memory and arithmetic, with random weights.

    python benchmarks/cost.py                        # all cases; the generations only where there is a GPU
    python benchmarks/cost.py --only "SDXL 512 px"   # one case; results of other cases and devices stay
    python benchmarks/cost.py --miniature --out /tmp # everything in miniature, in a minute: does it run?

On a GPU (bfloat16) everything is timed; FLUX.1 needs some 40 GiB of its memory. On a CPU (float32): one check, one
push, and at 512 px decoding, the pixel CLIP and one row of the denoiser, in some ten minutes and 14 GiB; generations
are added up from these. The arithmetic of every part, run or not, is counted on the meta device, in GFLOP. Safe Latent
Diffusion counts as one more UNet row a step, and nothing else.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from parts import BENIGN, DECODE, DENOISE, LOOK, PUSH, READ, SLD, STEERED, UNGUARDED, Parts
from published import CASES, Case
from rich.console import Console
from rich.table import Table
from timing import Timing, Work, in_turns

from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row
from latent_guard.bench.runs.provenance import provenance
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import read_json
from latent_guard.guidance.policy import SAFE
from latent_guard.guidance.policy_file import policy_named
from latent_guard.guidance.verdict import Cost

RUNS, BUDGET_S = 10, 120.0
RESULTS = Path(__file__).parent / "results"
MAX_ON_CPU = 512  # pixels


@dataclass(frozen=True)
class Line:
    """One part of one case. Seconds are None where it was not run; checks and pushes are of a generation."""

    case: str
    device: str
    part: str
    seconds: float | None
    least: float | None
    most: float | None
    runs: int
    peak_gib: float | None
    gflop: float
    checks: int
    pushes: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the chosen cases, write ``cost.json`` and ``cost.csv``, print a table and the ratios."""
    options = _options(arguments)
    diffusers_logging.set_verbosity_error()
    console = Console()
    for case in CASES.values():
        if options.only and case.name not in options.only:
            continue
        lines, rows = measure(case, options)
        store(options.out, lines, rows, options)
        console.print(_table(lines))
        for row in rows:
            console.print(f"{row.what}: {row.measured} (target {row.target})", soft_wrap=True)
    console.print(f"wrote {options.out / 'cost.json'} and cost.csv")


def measure(case: Case, options: argparse.Namespace) -> tuple[list[Line], list[Row]]:
    """Everything that fits, in seconds; everything, in GFLOP; and the ratios of what was timed."""
    has_gpu, miniature, policies = torch.cuda.is_available(), options.miniature, policy_named(options.policy)
    where = ("cuda", torch.bfloat16) if has_gpu else ("cpu", torch.float32)
    parts = Parts(case, *where, policies, miniature)
    works: dict[str, Work] = {LOOK: parts.look, PUSH: parts.push}
    if has_gpu or miniature or case.pixels <= MAX_ON_CPU:
        works |= {DECODE: parts.decode, READ: parts.read, DENOISE: parts.denoise}
    timed = in_turns(works, options.runs, options.budget)
    if has_gpu or miniature:
        timed |= in_turns(parts.generations(), options.runs, math.inf)
    costs = Parts(case, "cpu", torch.float32, policies, miniature=True).guard_costs()
    gflop = arithmetic(case, miniature, costs)
    device = f"{_device_name()}, {'bfloat16' if has_gpu else 'float32'}{', miniature' if miniature else ''}"
    lines = [_line(case, device, part, timed.get(part), gflop[part], costs.get(part, Cost())) for part in gflop]
    setting = f"policy {policies.name}; {device}"
    return lines, [*ratios(case, setting, timed), *added_up(case, setting, timed, costs)]


def arithmetic(case: Case, miniature: bool, costs: dict[str, Cost]) -> dict[str, float]:
    """GFLOP of every part; of generations from their parts, with the guard's own count of checks and pushes."""
    one = Parts(case, "meta", torch.float32, SAFE, miniature).flops()
    step, decode = one[DENOISE], one[DECODE]
    one[UNGUARDED] = case.steps * case.rows * step + decode
    for method, cost in costs.items():
        one[method] = one[UNGUARDED] + cost.checks * one[LOOK] + cost.pushes * one[PUSH]
    if case.rows > 1:
        one[SLD] = case.steps * (case.rows + 1) * step + decode
    return one


def ratios(case: Case, setting: str, timed: dict[str, Timing]) -> list[Row]:
    """The rows that the issue of the guard asks for; runs of both sides were interleaved."""
    rows = []
    if READ in timed:
        ratio = _ratio(timed[LOOK], timed[READ])
        what = f"{case.name}: one check against decode + pixel CLIP B/16, seconds"
        medians = f"medians {1000 * timed[LOOK].median:.1f} ms and {1000 * timed[READ].median:.1f} ms; {setting}"
        inverse = f"1/{1 / ratio.value:.0f} (1/{1 / ratio.high:.0f} to 1/{1 / ratio.low:.0f})"
        rows.append(Row(what, "<= 1/100", inverse, ratio.count, ratio.value <= 1 / 100, medians))
    if UNGUARDED in timed:
        for method, most in ((BENIGN, 0.02), (STEERED, 0.10), (SLD, None)):
            if method in timed:
                rows.append(_more(case, setting, timed, method, most if case.name.startswith("SDXL") else None))
    return rows


def added_up(case: Case, setting: str, timed: dict[str, Timing], costs: dict[str, Cost]) -> list[Row]:
    """Where parts were timed but no generation: what the guard adds to the sum of a generation's parts."""
    if UNGUARDED in timed or DENOISE not in timed:
        return []
    seconds = {part: timing.median for part, timing in timed.items()}
    unguarded = case.steps * case.rows * seconds[DENOISE] + seconds[DECODE]
    rows = []
    for method, most in ((BENIGN, 0.02), (STEERED, 0.10)):
        cost = costs[method]
        share = (cost.checks * seconds[LOOK] + cost.pushes * seconds[PUSH]) / unguarded
        what = f"{case.name}, {case.steps} steps: {method}, against unguarded, seconds added up from timed parts"
        note = (
            f"{cost.checks} checks, {cost.pushes} pushes; {unguarded:.0f} s unguarded; no generation was run; {setting}"
        )
        rows.append(Row(what, f"<= +{most:.0%}", f"+{share:.2%}", len(timed[DENOISE].seconds), share <= most, note))
    return rows


def _more(case: Case, setting: str, timed: dict[str, Timing], method: str, most: float | None) -> Row:
    ratio = _ratio(timed[method], timed[UNGUARDED])
    measured = f"{100 * (ratio.value - 1):+.1f}% ({100 * (ratio.low - 1):+.1f} to {100 * (ratio.high - 1):+.1f})"
    note = f"medians {timed[method].median:.2f} s and {timed[UNGUARDED].median:.2f} s; {setting}"
    what = f"{case.name}, {case.steps} steps: {method}, against unguarded, seconds"
    reached = True if most is None else ratio.value - 1 <= most
    return Row(what, "reported" if most is None else f"<= +{most:.0%}", measured, ratio.count, reached, note)


def _ratio(first: Timing, second: Timing) -> bootstrap.Estimate:
    return bootstrap.median_ratio(first.seconds, second.seconds)


def _line(case: Case, device: str, part: str, timing: Timing | None, gflop: float, cost: Cost) -> Line:
    if timing is None:
        return Line(case.name, device, part, None, None, None, 0, None, gflop, cost.checks, cost.pushes)
    spread = timing.median, min(timing.seconds), max(timing.seconds)
    return Line(case.name, device, part, *spread, len(timing.seconds), timing.peak_gib, gflop, cost.checks, cost.pushes)


def store(folder: Path, lines: Sequence[Line], rows: Sequence[Row], options: argparse.Namespace) -> None:
    """Add one case's measurements to both files, in the place of what the same case on the same device had."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cost.json"
    known: dict[str, Any] = read_json(path, "the results") if path.exists() else {}
    known[f"{lines[0].case}, {lines[0].device}"] = {
        "made_by": provenance().to_dict(),
        "settings": {"runs": options.runs, "budget_s": options.budget, "policy": options.policy},
        "lines": [asdict(line) for line in lines],
        "rows": [asdict(row) for row in rows],
    }
    write_atomic(path, (json.dumps(known, indent=1) + "\n").encode())
    text = io.StringIO()
    writer = csv.DictWriter(text, [*asdict(lines[0]), "commit"], lineterminator="\n")
    writer.writeheader()
    for case in known.values():
        writer.writerows({**_rounded(line), "commit": case["made_by"]["commit"]} for line in case["lines"])
    write_atomic(folder / "cost.csv", text.getvalue().encode())


def _rounded(line: dict[str, Any]) -> dict[str, Any]:
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in line.items()}


def _table(lines: Sequence[Line]) -> Table:
    table = Table(title=f"{lines[0].case}, one image, {lines[0].device}")
    for name in ("part", "seconds, median (range)", "runs", "peak GiB", "GFLOP", "checks", "pushes"):
        table.add_column(name, justify="left" if name == "part" else "right")
    for line in lines:
        seconds = "not run" if line.seconds is None else f"{line.seconds:.4g} ({line.least:.4g} to {line.most:.4g})"
        peak = "" if line.peak_gib is None else f"{line.peak_gib:.2f}"
        counts = [str(count) if count else "" for count in (line.runs, line.checks, line.pushes)]
        table.add_row(line.part, seconds, counts[0], peak, f"{line.gflop:,.0f}", *counts[1:])
    return table


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Seconds, memory and arithmetic of the guard at published sizes.")
    parser.add_argument("--only", action="append", choices=list(CASES), help="a case; may be given again")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each part, after one to warm up ({RUNS})")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds after which a part is run no more")
    parser.add_argument("--policy", default="safe", help="of the guarded generations: a name or a policy file (safe)")
    parser.add_argument("--miniature", action="store_true", help="small models, to see that everything runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write into")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    if options.miniature and options.out == RESULTS:
        parser.error("--miniature needs --out: its figures mean nothing beside the others")
    return options


if __name__ == "__main__":
    main()
