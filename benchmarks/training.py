"""A training step beside a plain loop over open_clip's stock towers: samples a second, utilisation, peak memory.

    python benchmarks/training.py                              # a small model; on a CPU some minutes, mostly compiling
    python benchmarks/training.py --scale latent-vit-b-8 --batch 2048          # on a GPU, as the next
    python benchmarks/training.py --scale latent-vit-b-4-plus --batch 768

Both loops train the same model on the same batch, in bfloat16 autocast with the same attention kernel, once as it is
and once through torch.compile; their steps are interleaved. Captions are as long as COCO's. Aims: 1.3 times the
compiled plain loop, 45% utilisation. The paper's batch is 81,920 over all GPUs: give as much as fits of one's share.
Utilisation is the arithmetic of a step (products of matrices forward and backward, as torch counts them in the step
that is run, so without what a loop leaves out) over seconds and the machine's peak in bfloat16.
Memory is the most that was held in a step, both models and their optimizers' states included.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from peaks import peak_flops
from plain_loop import PlainLoop, stock_model
from rich.console import Console
from rich.table import Table
from tables import show_and_keep
from timing import Timing, Work, in_turns
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row
from latent_guard.bench.runs.peak_memory import measured_memory
from latent_guard.bench.runs.provenance import provenance
from latent_guard.devices import best_device
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import read_json
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig, VisionConfig
from latent_guard.latent_clip.latent_space import PUBLISHED
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.presets import PRESETS
from latent_guard.latent_clip.tokenizer import MERGES, trimmed_vocab_size
from latent_guard.training.contrastive import backward, contrastive_loss
from latent_guard.training.data.batches import Batch
from latent_guard.training.optimizers import new_optimizers, update
from latent_guard.training.recipe import Recipe
from latent_guard.training.towers import Towers

SMALL = LatentCLIPConfig(
    embed_dim=192,
    vision=VisionConfig(channels=4, size=32, patch_size=4, width=192, layers=4, heads=3),
    text=TextConfig(context_length=77, vocab_size=trimmed_vocab_size(MERGES), width=192, layers=4, heads=3),
    latent_space=PUBLISHED["SDXL"],
    reads_noise_level=False,
)
SCALES = {"small": SMALL, **PRESETS}
BATCHES = {"small": 64, "latent-vit-b-8": 1024, "latent-vit-b-4-plus": 512}  # in 80 GiB
SPEED_AIM, UTILISATION_AIM = 1.3, 0.45
ROUNDS = 8
BATCHES_IN_TURN = 8  # each with captions of other lengths
WORDS_LOG_MEAN, WORDS_LOG_DEVIATION = math.log(9.2), 0.3  # with start and end 12 tokens in the mean, as COCO's captions
LONG, SHORTEST_LONG = 0.01, 20  # share of captions that are longer, up to the whole context
OURS, PLAIN, EAGER, COMPILED = "latent-guard", "plain open_clip", "eager", "compiled"
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Line:
    """One loop: samples a second (median, least, most of the rounds), and what a step needs."""

    loop: str
    samples_per_second: float
    least: float
    most: float
    rounds: int
    gflop_per_sample: float
    utilisation: float
    peak_gib: float | None


@dataclass
class OurLoop:
    """One training step of ``latent_guard.training``."""

    towers: Towers
    batches: Iterator[Batch]

    def __post_init__(self) -> None:
        recipe = Recipe(["-"], "-", {}, steps=1, batch_size=2, learning_rate=1e-4)
        self.optimizers, self.loss = new_optimizers(self.towers, recipe), contrastive_loss(recipe.loss)

    def step(self) -> None:
        self.backward()
        update(self.towers, self.optimizers, 1.0)

    def backward(self) -> None:
        backward(self.towers, next(self.batches), self.loss)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one scale, write it into ``training.json``, print a table and the ratios."""
    options = _options(arguments)
    device = torch.device(best_device())
    kernel = SDPBackend.EFFICIENT_ATTENTION if device.type == "cuda" else SDPBackend.MATH
    with sdpa_kernel(kernel):
        lines, timed, peak = measure(SCALES[options.scale], options, device)
    machine = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    setting = f"batch {options.batch}, {kernel.name} attention, peak {peak}; {machine}"
    rows = ratios(options.scale, setting, lines, timed)
    _store(options, machine, lines, rows)
    console = Console()
    show_and_keep(
        _table(f"{options.scale}: a training step, {setting}", lines), options.out / f"training_{options.scale}.csv"
    )
    for row in rows:
        console.print(f"{row.what}: {row.measured} (target {row.target})", soft_wrap=True)


def measure(
    config: LatentCLIPConfig, options: argparse.Namespace, device: torch.device
) -> tuple[list[Line], dict[str, Timing], str]:
    """The four loops, interleaved; their lines, their timings, and where the machine's peak is from."""
    loops = loops_over(config, [stand_ins(config, options.batch, seed) for seed in range(BATCHES_IN_TURN)], device)
    peak, source = peak_flops(device)
    flops = {name: _flops(loop) for name, loop in loops.items() if name.endswith(EAGER)}
    timed = in_turns({name: loop.step for name, loop in loops.items()}, options.rounds, options.budget)
    lines = []
    for name, timing in timed.items():
        rates = [options.batch / seconds for seconds in timing.seconds]
        work = flops[name.replace(COMPILED, EAGER)]
        held = timing.peak_gib if device.type == "cuda" else _resident_gib(loops[name].step)
        speed = options.batch / timing.median, min(rates), max(rates), len(rates)
        lines.append(Line(name, *speed, work / options.batch / 1e9, work / timing.median / peak, held))
    return lines, timed, source


def _resident_gib(work: Work) -> float | None:
    """The most memory that the process held while it worked; None where the system does not say."""
    with measured_memory() as memory:
        work()
    return None if math.isnan(memory.peak) else memory.peak / 1024


def loops_over(
    config: LatentCLIPConfig, drawn: Sequence[tuple[torch.Tensor, torch.Tensor]], device: torch.device
) -> dict[str, OurLoop | PlainLoop]:
    """Both loops over latents and token ids, each once as it is and once compiled, by name; they start from the same
    weights."""
    torch.manual_seed(0)
    stock, model = stock_model(config).to(device), LatentCLIP(config).to(device).train()
    compiled = Towers(copy.deepcopy(model), "bf16")
    compiled.compile_both(with_ddp=False)
    batches = [Batch.of(latents, torch.zeros(len(latents)), ids, int(ids.max())).to(device) for latents, ids in drawn]
    padded = [(latents.to(device), ids.to(device)) for latents, ids in drawn]
    return {
        f"{PLAIN}, {EAGER}": PlainLoop(stock, stock, cycle(padded)),
        f"{OURS}, {EAGER}": OurLoop(Towers(model, "bf16"), cycle(batches)),
        f"{PLAIN}, {COMPILED}": PlainLoop(stock, torch.compile(stock), cycle(padded)),
        f"{OURS}, {COMPILED}": OurLoop(compiled, cycle(batches)),
    }


def stand_ins(config: LatentCLIPConfig, batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random latents, and token ids of random words in captions of COCO's lengths, padded to the whole context."""
    generator, text = torch.Generator().manual_seed(seed), config.text
    latents = torch.randn(batch, config.vision.channels, *(config.vision.size,) * 2, generator=generator)
    words = (torch.randn(batch, generator=generator) * WORDS_LOG_DEVIATION + WORDS_LOG_MEAN).exp().round().long()
    long = torch.rand(batch, generator=generator) < LONG
    any_length = torch.randint(SHORTEST_LONG, text.context_length + 1, (batch,), generator=generator)
    lengths = torch.where(long, any_length, (words + 2).clamp(3, text.context_length))
    start, end = text.vocab_size - 2, text.vocab_size - 1
    ids = torch.randint(start, (batch, text.context_length), generator=generator)
    ids[:, 0] = start
    ids[torch.arange(text.context_length) >= lengths[:, None] - 1] = end  # the end token pads too
    return latents, ids


def ratios(scale: str, setting: str, lines: Sequence[Line], timed: dict[str, Timing]) -> list[Row]:
    """Speed against the plain loop, eager and compiled, and utilisation."""
    rows = []
    for way, target in ((EAGER, None), (COMPILED, SPEED_AIM)):
        ratio = bootstrap.median_ratio(timed[f"{PLAIN}, {way}"].seconds, timed[f"{OURS}, {way}"].seconds)
        what = f"{scale}: samples a second, {OURS} over {PLAIN}, {way}"
        aim = "reported" if target is None else f">= {target}"
        rows.append(Row(what, aim, ratio.plain(2), ratio.count, target is None or ratio.value >= target, setting))
    best = max((line for line in lines if line.loop.startswith(OURS)), key=lambda line: line.utilisation)
    what, reached = f"{scale}: utilisation, {best.loop}", best.utilisation >= UTILISATION_AIM
    rows.append(Row(what, f">= {UTILISATION_AIM:.0%}", f"{best.utilisation:.1%}", best.rounds, reached, setting))
    return rows


def _flops(loop: OurLoop | PlainLoop) -> float:
    with FlopCounterMode(display=False) as counter:
        loop.backward()
    return float(counter.get_total_flops())


def _store(options: argparse.Namespace, machine: str, lines: Sequence[Line], rows: Sequence[Row]) -> None:
    """Put this scale's figures in the place of what the same scale on the same machine had."""
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "training.json"
    known: dict[str, Any] = read_json(path, "the results") if path.exists() else {}
    known[f"{options.scale}, {machine}"] = {
        "made_by": provenance().to_dict(),
        "batch": options.batch,
        "lines": [asdict(line) for line in lines],
        "rows": [asdict(row) for row in rows],
    }
    write_atomic(path, (json.dumps(known, indent=1) + "\n").encode())


def _table(title: str, lines: Sequence[Line]) -> Table:
    table = Table(title=title)
    for name in ("loop", "samples/s, median (range)", "rounds", "GFLOP a sample", "utilisation", "peak GiB"):
        table.add_column(name, justify="left" if name == "loop" else "right")
    for line in lines:
        speed = f"{line.samples_per_second:,.1f} ({line.least:,.1f} to {line.most:,.1f})"
        peak = "" if line.peak_gib is None else f"{line.peak_gib:.2f}"
        table.add_row(
            line.loop, speed, str(line.rounds), f"{line.gflop_per_sample:.3g}", f"{line.utilisation:.1%}", peak
        )
    return table


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A training step beside a plain loop over open_clip's towers.")
    parser.add_argument("--scale", choices=list(SCALES), default="small", help="the model (small)")
    parser.add_argument("--batch", type=int, help="samples a step; by default what fits into 80 GiB, small: 64")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"steps of each loop, after warm-up ({ROUNDS})")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds after which no round begins (120)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write into")
    options = parser.parse_args(arguments)
    options.batch = options.batch or BATCHES[options.scale]
    if options.batch < 2 or options.rounds < 1:
        parser.error("--batch must be at least 2, --rounds at least 1")
    return options


if __name__ == "__main__":
    main()
