"""What the benchmark harness itself costs: the share of a run's time that is not spent inside the pipeline.

    python benchmarks/harness.py             # 3 runs of 500 images on the shipped model; some minutes on two cores

Each run is made in a new folder, from the first call to the report: judging, images and records to disk, grading by the
CLIP that baselines.yaml names too, figures and report all count as the harness's. Loading the model does not. The aim
is 3% at most, as the median of the runs. Result: ``benchmarks/results/harness.json``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from latent_guard.bench.metrics.clip_features import EMOJI_GRADER
from latent_guard.bench.runs.provenance import provenance
from latent_guard.bench.runs.run import Opened, finish, make, open_spec
from latent_guard.bench.spec import Spec
from latent_guard.bench.task import MethodSpec, TaskSpec
from latent_guard.files.atomic import write_atomic
from latent_guard.loading import load_pipeline
from latent_guard.report.write import write_report
from latent_guard.worlds.emoji.bundle import bundle_folder

AIM = 0.03
IMAGES, RUNS = 500, 3
METHODS = (MethodSpec("unguarded"), MethodSpec("guard"))
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Seconds:
    """Of one run: inside the pipeline's calls, between them, and after the last."""

    pipeline: float
    judging_and_keeping: float
    grading: float
    report: float

    @property
    def overhead(self) -> float:
        """The harness's share of the whole."""
        own = self.judging_and_keeping + self.grading + self.report
        return own / (self.pipeline + own)


@dataclass(frozen=True)
class Measured:
    """The harness's share: the median run's, and the least and most."""

    median: float
    least: float
    most: float
    images: int
    runs: list[Seconds]
    aim: float = AIM


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write ``harness.json``, print one line."""
    options = _options(arguments)
    measured = measure(options.images, options.runs)
    made_by = provenance(Path(bundle_folder())).to_dict()
    record = {"made_by": made_by, "grader": EMOJI_GRADER, **asdict(measured)}
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomic(options.out / "harness.json", (json.dumps(record, indent=1) + "\n").encode())
    verdict = "reached" if measured.median <= AIM else "missed"
    spread = f"{measured.least:.2%} to {measured.most:.2%} in {len(measured.runs)} runs of {measured.images} images"
    print(f"{measured.median:.2%} outside the pipeline ({spread}); aim {AIM:.0%}: {verdict}")


def measure(images: int, runs: int) -> Measured:
    """Runs of so many images, shared equally by the methods."""
    task = TaskSpec("risky", "emoji/dev_risky", images // len(METHODS))
    spec = Spec("harness", (task,), METHODS, MethodSpec("emoji-judge"), grader=EMOJI_GRADER)
    pipe, bundle = load_pipeline(None, 20, 16), Path(bundle_folder())
    pipe.set_progress_bar_config(disable=True)
    with tempfile.TemporaryDirectory() as folder:
        opened = open_spec(spec, pipe, bundle, Path(folder) / "cache")
        seconds = [_seconds(opened, Path(folder) / str(number)) for number in range(runs)]
    shares = [one.overhead for one in seconds]
    return Measured(float(np.median(shares)), min(shares), max(shares), opened.plan.images, seconds)


def _seconds(opened: Opened, out: Path) -> Seconds:
    times = [time.perf_counter()]
    clock = make(opened, out)
    times.append(time.perf_counter())
    finish(opened, out, "benchmarks/harness.py", clock)
    times.append(time.perf_counter())
    write_report(out)
    times.append(time.perf_counter())
    made, graded, reported = np.diff(times).tolist()
    return Seconds(clock.inside, made - clock.inside, graded, reported)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The harness's share of a benchmark run's time.")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"of each run, all methods together ({IMAGES})")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"({RUNS})")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write into")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
