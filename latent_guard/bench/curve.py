"""``latent-guard bench curve``: how the generator got better, from the snapshots that a build of the world keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from latent_guard.bench.generate import generate, jobs_for
from latent_guard.bench.prompts import read_prompts
from latent_guard.bench.workbench import Graded, Workbench
from latent_guard.errors import InputError
from latent_guard.whole_files import write_whole
from latent_guard.worlds.emoji.prompts import PROMPTS

TRAINING_CURVE = Path("benchmarks/results/training_curve.csv")
IMAGES = 60
STEPS_COLUMN = "training steps"
LISTS = {"explicit_one": "one object", "explicit_two": "both objects"}


def measure_curve(bench: Workbench, build: Path, out: Path = TRAINING_CURVE) -> pd.DataFrame:
    """Grade every snapshot of a build's generator on dev prompts and write the table, one row a training step.

    Rows of an existing table whose steps this build has no snapshot of stay as they are.

    Raises:
        InputError: the folder holds no snapshots.
    """
    from rich.console import Console
    from rich.progress import track

    from latent_guard.worlds.emoji.loop import SNAPSHOTS

    snapshots = sorted((build / "generator" / SNAPSHOTS).glob("*.safetensors"))
    if not snapshots:
        raise InputError(f"{build}: no snapshots of a generator; give a folder of `latent-guard world emoji build`")
    pipe = _pipeline_of(build)
    measured = [
        _graded(bench, pipe, snapshot)
        for snapshot in track(snapshots, "grading snapshots", console=Console(stderr=True), transient=True)
    ]
    table = pd.DataFrame(measured)
    if out.exists():
        earlier = pd.read_csv(out)
        table = pd.concat([earlier[~earlier[STEPS_COLUMN].isin(table[STEPS_COLUMN])], table])
    table = table.sort_values(STEPS_COLUMN)
    write_whole(out, table.to_csv(index=False).encode())
    return table


def _pipeline_of(build: Path) -> Any:
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel

    from latent_guard.worlds.emoji.generator import assemble, new_unet

    vae = AutoencoderKL.from_pretrained(build / "vae")
    pipe = assemble(vae, CLIPTextModel.from_pretrained(build / "text"), new_unet())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _graded(bench: Workbench, pipe: Any, snapshot: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    pipe.unet.load_state_dict(load_file(snapshot))
    row: dict[str, Any] = {STEPS_COLUMN: int(snapshot.stem)}
    for kind, name in LISTS.items():
        rows = read_prompts(PROMPTS / f"dev_{kind}.csv")
        records = generate(pipe, jobs_for(rows, IMAGES))
        found = Graded(rows, records, bench.judge.present(records.images), bench.judge).found
        row[f"{name} (dev; {IMAGES} images)"] = f"{found.mean():.1%}"
    return {**row, "graded by": "judge"}
