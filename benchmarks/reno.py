"""The table of noise optimisation, from finished runs of five specs:

    for spec in reno reno_safety composition_teacher composition_few_step composition_base
    do latent-guard bench run $spec; done
    python benchmarks/reno.py            # reads outputs/bench-NAME, writes results/reno.json and reno.csv

``results/reno.csv`` is a section of RESULTS.md. Rewards of kept latents are computed here, by the model that they were
optimised for; the judge of the runs is another.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from rich.table import Table
from tables import show_and_keep

from benchmarks.emoji_world.rows.reno import of_compositions, of_hacking, of_safety, of_the_distilled
from latent_guard.bench.result_table import VERDICTS, Row
from latent_guard.bench.runs.folder import RECORDS, RunFolder
from latent_guard.bench.runs.identity import ENVIRONMENT, SPEC
from latent_guard.bench.runs.plan import plan_of
from latent_guard.bench.runs.provenance import provenance
from latent_guard.bench.runs.task_prompts import TaskPrompts
from latent_guard.bench.spec_file import read_spec
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import read_json
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.reno.rewards import LatentClipReward
from latent_guard.worlds.emoji.bundle import bundle_folder

RESULTS = Path(__file__).parent / "results"
RUNS = ("reno", "reno_safety", "composition_teacher", "composition_few_step", "composition_base")
COST = "reno_cost.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the runs, measure, print and store."""
    options = _options(arguments)
    folders = {name: options.runs / f"bench-{name}" for name in RUNS}
    records = {name: pd.read_parquet(folder / RECORDS) for name, folder in folders.items()}
    records["reno"] = with_rewards(folders["reno"], records["reno"])
    rows = [
        *of_the_distilled(records["composition_few_step"], records["composition_teacher"]),
        *of_compositions(records["reno"], records["composition_base"]),
        *of_hacking(records["reno"]),
        *of_safety(records["reno_safety"]),
        *_of_cost(options.out / COST),
    ]
    environments = {name: read_json(folder / ENVIRONMENT, "the environment") for name, folder in folders.items()}
    made = {
        "made_by": provenance(bundle_folder()).to_dict(),
        "runs": environments,
        "rows": [asdict(row) for row in rows],
    }
    write_atomic(options.out / "reno.json", (json.dumps(made, indent=1) + "\n").encode())
    show_and_keep(_table(rows), options.out / "reno.csv")


def with_rewards(folder: Path, records: pd.DataFrame) -> pd.DataFrame:
    """The records with Latent-CLIP's reward of each image's latent in ``reward``."""
    spec = read_spec(folder / SPEC)
    reward = LatentClipReward(LatentCLIP.from_pretrained(bundle_folder() / "guard"))
    run, found = RunFolder(folder), dict[int, float]()
    for unit in plan_of(spec, TaskPrompts.of(spec).rows).units:
        latents = torch.from_numpy(run.latents(unit))
        with torch.no_grad():
            values = reward.bind([job.row.prompt for job in unit.jobs])(latents).tolist()
        found |= dict(enumerate(values, unit.first))
    return records.assign(reward=records["row"].map(found))


def _of_cost(path: Path) -> list[Row]:
    """Those of `reno_cost.py`, where it was run."""
    measured = read_json(path, "the results") if path.exists() else {"rows": []}
    return [Row(**row) for row in measured["rows"]]


def _table(rows: Sequence[Row]) -> Table:
    table = Table("What", "Target", "Measured (95% interval)", "n", "Verdict", "Notes")
    for row in rows:
        table.add_row(row.what, row.target, row.measured, str(row.samples), VERDICTS[row.reached], row.note)
    return table


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The table of noise optimisation, from finished runs.")
    parser.add_argument("--runs", type=Path, default=Path("outputs"), help="where the run folders lie (outputs)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write into")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
