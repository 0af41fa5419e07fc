"""What the service promises, measured on the shipped model with real processes on this machine.

    python -m benchmarks.service soak        # 50 clients for 3 minutes, then every request alone
    python -m benchmarks.service speed       # images a second, beside a loop over guard.generate
    python -m benchmarks.service refused     # what a refused request costs under `block`
    python -m benchmarks.service hostile     # 10,000 bodies, pictures and headers that nobody should send
    python -m benchmarks.service kills       # SIGKILL of the server at 20 random points
    python -m benchmarks.service ray-kills   # SIGKILL of a Ray worker and of the driver, 20 random points each
    python -m benchmarks.service report      # the table of what was measured

Measure on an idle machine. Each stage keeps its rows in ``benchmarks/results/service.json``; the table is
``benchmarks/results/service.csv``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.service.hostile import hostile
from benchmarks.service.kills import kills
from benchmarks.service.ray_kills import ray_kills
from benchmarks.service.report import keep, report
from benchmarks.service.soak import soak
from benchmarks.service.speed import refused, speed
from latent_guard.bench.result_table import Row

RESULTS = Path(__file__).parents[1] / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one stage, and print the table."""
    options = _options(arguments)
    if options.stage in STAGES:
        with TemporaryDirectory() as scratch:
            keep(options.stage, STAGES[options.stage](Path(scratch), options), options.out)
    report(options.out)


STAGES: dict[str, Callable[[Path, argparse.Namespace], list[Row]]] = {
    "soak": lambda scratch, options: soak(options.log, options.minutes),
    "speed": lambda scratch, options: speed(options.log, options.batch),
    "refused": lambda scratch, options: refused(options.log),
    "hostile": lambda scratch, options: hostile(options.log, options.count),
    "kills": lambda scratch, options: kills(options.log, scratch, options.kills),
    "ray-kills": lambda scratch, options: ray_kills(options.log, scratch, options.kills),
}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stage", choices=(*STAGES, "report"))
    parser.add_argument("--minutes", type=float, default=3.0, help="of the soak")
    parser.add_argument("--batch", type=int, default=8, help="images in a batch, at most")
    parser.add_argument("--count", type=int, default=10_000, help="hostile requests")
    parser.add_argument("--kills", type=int, default=20, help="of each kind of process")
    parser.add_argument("--log", type=Path, default=Path("service.log"), help="what the servers print")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
