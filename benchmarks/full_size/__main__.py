"""What the guard costs beside today's models at full size, on a GPU: random weights, bfloat16, in at most 8 minutes.

    python -m benchmarks.full_size --out FOLDER               # needs one GPU; 80 GiB are enough
    python -m benchmarks.full_size --out FOLDER --miniature   # everything small, in a minute, without a GPU too

Of each model and size: seconds of a look, a push, and generations of 8 steps unguarded, guarded by a guard that never
acts and by one that pushes, in turn, and their peaks of memory; then the same of noise optimisation with a reward that
reads latents and one that reads pixels. Ratios are within one run. Most calls take more steps, among which as many
pushes are fewer, and all encode a prompt first: the guard's share of these is smaller.

``full_size.csv`` and ``full_size.json`` are whole after every line. What no longer fits the time is left out, and what
fails leaves a line that says how; the rest goes on.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging

from benchmarks.full_size import generations, noise_optimisation
from benchmarks.full_size.models import MODELS
from benchmarks.full_size.record import Line, Record
from benchmarks.full_size.rounds import Clock, OutOfTimeError
from benchmarks.full_size.sizes import FULL, MINIATURE, Sizes
from latent_guard.bench.runs.provenance import provenance

MINUTES = 8.0
Measure = Callable[[Sizes, str, torch.dtype, Clock], Iterator[Line]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what fits the time."""
    options = _options(arguments)
    on_gpu = torch.cuda.is_available()
    if not (on_gpu or options.miniature):
        raise SystemExit("error: there is no GPU here for models at full size; give --miniature to rehearse on the CPU")
    clock = Clock.of(options.minutes)
    diffusers_logging.set_verbosity_error()
    sizes = MINIATURE if options.miniature else FULL
    where = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    record = Record(
        options.out, {"made_by": provenance().to_dict(), "sizes": asdict(sizes), "precision": str(where[1])}
    )
    for name, measure in measurements().items():
        if not options.only or name in options.only:
            _measure(name, partial(measure, sizes, *where, clock), record)


def measurements() -> dict[str, Measure]:
    """What is measured, in this order: the rows that others wait for before other sizes of the same models."""
    models: dict[str, Measure] = {model.name: partial(generations.measured, model) for model in MODELS}
    return {"SDXL": models.pop("SDXL"), noise_optimisation.MODEL: noise_optimisation.measured, **models}


def _measure(name: str, lines: Callable[[], Iterator[Line]], record: Record) -> None:
    try:
        for line in lines():
            record.add(line)
    except OutOfTimeError as late:
        record.add(Line(name, note=f"not measured: {late}"))
    except Exception as error:
        record.add(Line(name, note=f"failed: {type(error).__name__}: {error}"))
    if torch.cuda.is_available():  # the next model needs the memory
        gc.collect()
        torch.cuda.empty_cache()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.full_size", description="The guard beside today's models at full size, on a GPU."
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write into")
    parser.add_argument("--miniature", action="store_true", help="everything small: it runs, the figures mean nothing")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"in which all must end ({MINUTES:g})")
    parser.add_argument("--only", action="append", choices=list(measurements()), help="a model; may be given again")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
