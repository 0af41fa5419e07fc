"""What Latent Guard needs at a platform's size: the parts measured on this machine, and what follows from them.

    python -m benchmarks.scale             # measures, some two minutes on two cores; needs the extra ray
    python -m benchmarks.scale --tables    # the tables of docs/scale.md, from what was measured last

Result: ``benchmarks/results/scale.json``, from which the tables of docs/scale.md are made.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.scale.demand import tables
from benchmarks.scale.parts import Parts, measured
from latent_guard.bench.runs.provenance import provenance
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import read_json

RESULTS = Path(__file__).parents[1] / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write ``scale.json``, or print the tables."""
    parser = argparse.ArgumentParser(description="What bulk work and a service need at a platform's size.")
    parser.add_argument("--tables", action="store_true", help="print the tables of what was measured last")
    parser.add_argument("--seconds", type=float, default=10.0, help="to measure each part for (10)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of scale.json")
    options = parser.parse_args(arguments)
    if not options.tables:
        record = {"made_by": provenance().to_dict(), "parts": asdict(measured(options.seconds))}
        write_atomic(options.out / "scale.json", (json.dumps(record, indent=1) + "\n").encode())
    print(tables(parts_in(options.out)))


def parts_in(folder: Path = RESULTS) -> Parts:
    """What was measured last."""
    return Parts(**read_json(folder / "scale.json", "the measured parts")["parts"])


if __name__ == "__main__":
    main()
