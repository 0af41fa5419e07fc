"""Samples a second of the training loader, from encoded tars in the page cache, on two cores.

    python benchmarks/loader.py              # 64x64x4 float16 latents with token ids; some ten seconds

Stand-in shards of random latents are written into a temporary folder (half a GB) and gathered in random order, as
batches of tensors. The aim is what one H200 eats: 8,000 a second. Result: ``benchmarks/results/loader.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from latent_guard.bench.runs.provenance import provenance
from latent_guard.files.atomic import write_atomic
from latent_guard.latent_clip.latent_space import PUBLISHED
from latent_guard.training.data.mapped_shards import MappedShards
from latent_guard.training.data.tar_shards import TarShardWriter
from latent_guard.training.encoding.plan import Plan, Settings

AIM = 8000
SHAPE, TOKENS = (4, 64, 64), 77
BATCH = 1024
CORES = 2
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Measured:
    """Samples a second: of each round's batches, the median, least and most."""

    median: float
    least: float
    most: float
    rounds: int
    cores: int
    samples: int
    batch: int
    aim: int = AIM


def main(arguments: Sequence[str] | None = None) -> None:
    """Write stand-in shards, measure, write ``loader.json``, print one line."""
    options = _options(arguments)
    cores = sorted(os.sched_getaffinity(0))[:CORES] if hasattr(os, "sched_getaffinity") else []
    if cores:
        os.sched_setaffinity(0, cores)
    torch.set_num_threads(CORES)
    with tempfile.TemporaryDirectory() as folder:
        write_stand_ins(Path(folder) / "shards", options.samples)
        measured = measure(Path(folder) / "shards", options.seconds, len(cores) or CORES)
    record = {"made_by": provenance().to_dict(), **asdict(measured)}
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomic(options.out / "loader.json", (json.dumps(record, indent=1) + "\n").encode())
    verdict = "reached" if measured.median >= AIM else "missed"
    spread = f"{measured.least:,.0f} to {measured.most:,.0f} in {measured.rounds} batches of {measured.batch}"
    print(f"{measured.median:,.0f} samples/s ({spread}) on {measured.cores} cores; aim {AIM:,}: {verdict}")


def write_stand_ins(folder: Path, samples: int, shards: int = 4) -> None:
    """Random latents and token ids, in the files that ``encode`` leaves."""
    generator, space = torch.Generator().manual_seed(0), PUBLISHED["SDXL"]
    tokenizer = {"vocab_size": 49408, "context_length": TOKENS}
    settings = Settings("random", 1, "none", space.to_dict(), tokenizer, "float16", 512, samples // shards)
    folder.mkdir()
    plan = Plan.open(folder, settings)
    for shard in range(shards):
        with TarShardWriter(plan.tar(0, shard), space) as writer:
            for number in range(samples // shards):
                latent = torch.randn(SHAPE, generator=generator).half()
                ids = torch.randint(49408, (TOKENS,), generator=generator)
                writer.add(f"{shard:05d}-{number:08d}", str(number), latent, ids, "a stand-in")
    plan.mark_end(0, shards)
    plan.finish()


def measure(folder: Path, seconds: float, cores: int) -> Measured:
    """Gather random batches for so many seconds, after one to warm up."""
    shards, generator, rates = MappedShards([folder]), torch.Generator().manual_seed(0), list[float]()
    began = time.perf_counter()
    while not rates or time.perf_counter() - began < seconds:
        rows = torch.randint(len(shards), (BATCH,), generator=generator).tolist()
        started = time.perf_counter()
        batch = shards.gather(rows)
        rates.append(len(batch.latents) / (time.perf_counter() - started))
        assert batch.latents.shape == (BATCH, *SHAPE)
        assert batch.ids.shape == (BATCH, TOKENS)
    warm = rates[1:] or rates
    return Measured(float(np.median(warm)), min(warm), max(warm), len(warm), cores, len(shards), BATCH)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Samples a second of the training loader, from the page cache.")
    parser.add_argument("--seconds", type=float, default=5.0, help="to measure for (5)")
    parser.add_argument("--samples", type=int, default=16_384, help="stand-ins to write (16384, half a GB)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write into")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
