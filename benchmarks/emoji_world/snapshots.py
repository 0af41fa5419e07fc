"""``... emoji_world curve``: how the generator got better, from the snapshots that a build of the world keeps."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from benchmarks.emoji_world.workbench import EMOJI
from latent_guard.bench.runs.folder import RECORDS
from latent_guard.bench.runs.run import open_spec, run
from latent_guard.bench.spec import Spec
from latent_guard.bench.task import UNGUARDED, MethodSpec, TaskSpec
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.csv_text import table_csv
from latent_guard.files.tables import read_table
from latent_guard.terminal import track

TRAINING_CURVE = Path("benchmarks/results/training_curve.csv")
IMAGES = 60  # a list and snapshot
STEPS_COLUMN = "training steps"
LISTS = {"explicit_one": "one object", "explicit_two": "both objects"}


def measure_curve(bundle: Path, build: Path, out: Path = TRAINING_CURVE, images: int = IMAGES) -> pd.DataFrame:
    """Grade every snapshot of a build's generator on dev prompts and write the table, one row a training step.

    ``bundle`` is whose judge grades.
    Rows of an existing table whose steps this build has no snapshot of stay as they are.

    Raises:
        InputError: the folder holds no snapshots.
    """
    from latent_guard.worlds.emoji.loop import SNAPSHOTS

    snapshots = sorted((build / "generator" / SNAPSHOTS).glob("*.safetensors"))
    if not snapshots:
        raise InputError(f"{build}: no snapshots of a generator; give a folder of `latent-guard world emoji build`")
    pipe = _pipeline_of(build)
    measured = [_graded(bundle, pipe, snapshot, images) for snapshot in track(snapshots, "grading snapshots")]
    table = pd.DataFrame(measured)
    if out.exists():
        earlier = pd.read_csv(out)
        table = pd.concat([earlier[~earlier[STEPS_COLUMN].isin(table[STEPS_COLUMN])], table])
    table = table.sort_values(STEPS_COLUMN)
    write_atomic(out, table_csv(table))
    return table


def _pipeline_of(build: Path) -> Any:
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel

    from latent_guard.worlds.emoji.generator import assemble, new_unet

    vae = AutoencoderKL.from_pretrained(build / "vae")
    pipe = assemble(vae, CLIPTextModel.from_pretrained(build / "text"), new_unet())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _graded(bundle: Path, pipe: Any, snapshot: Path, images: int) -> dict[str, Any]:
    from safetensors.torch import load_file

    pipe.unet.load_state_dict(load_file(snapshot))
    with TemporaryDirectory() as folder:
        out = Path(folder)
        run(open_spec(_spec(bundle, images), pipe, bundle, out), out, "python -m benchmarks.emoji_world curve")
        found = read_table(out / RECORDS).groupby("task")["satisfied"].mean()
    shares = {f"{name} (dev; {images} images)": f"{found[kind]:.1%}" for kind, name in LISTS.items()}
    return {STEPS_COLUMN: int(snapshot.stem), **shares, "graded by": "judge"}


def _spec(bundle: Path, images: int) -> Spec:
    tasks = tuple(TaskSpec(kind, f"{EMOJI}dev_{kind}", images, "benign") for kind in LISTS)
    judge = MethodSpec("emoji-judge", {"folder": str(bundle / "judge")})
    return Spec("curve", tasks, (MethodSpec(UNGUARDED),), judge)
