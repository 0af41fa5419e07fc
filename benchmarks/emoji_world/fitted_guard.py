"""The grading of fitted guards: the rows of one generator, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.emoji_world.rows import fitted as rows
from benchmarks.emoji_world.rows.leave_one_out import concept_leave_one_out
from benchmarks.emoji_world.workbench import Settings, Workbench
from latent_guard import fitted_guards
from latent_guard.bench.result_table import VERDICTS, Row
from latent_guard.bench.spec import OWN_ARGUMENTS
from latent_guard.bench.spec_file import read_spec
from latent_guard.bench.world import SHIPPED_WORLD
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.csv_text import table_csv
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.package_data import SHIPPED_MODELS
from latent_guard.terminal import note

FULL, QUICK = Settings(renders=500, drawn=1000), Settings(renders=100, drawn=200)
COLUMNS = ("generator", "teacher", "what", "target", "measured", "n", "verdict", "notes")


def grade(model: str, teacher: Path | None, quick: bool, words: Sequence[str], out: Path, table: Path) -> list[Row]:
    """Measure the guard that was fitted to one of the world's generators, and put its rows into the table.

    Args:
        model: the generator.
        teacher: the folder of the CLIP on pixels that taught, None for the untouched Latent-CLIP.
        quick: a few images.
        words: only rows with one of these in their name.
        out: folder of images and figures.
        table: CSV of the rows of all generators.

    Raises:
        InputError: no such generator, or no guard was fitted to it.
    """
    if model not in SHIPPED_MODELS:
        raise InputError(f"the world has no generator {model!r}; give one of {', '.join(SHIPPED_MODELS)}")
    fitted = fitted_guards.find(model)
    if fitted is None:
        raise InputError(f"no guard was fitted to {model}; make one with `latent-guard fit {model}`")
    usual = SHIPPED_WORLD.usual_arguments(model)
    spec = replace(
        read_spec("fitted"),
        model=model,
        steps=usual["num_inference_steps"],
        guidance_scale=usual["guidance_scale"],
        arguments={key: value for key, value in usual.items() if key not in OWN_ARGUMENTS},
    )
    if quick:
        spec = spec.limited(spec.quick)
    bench = Workbench(SHIPPED_WORLD.bundle(), out, spec, QUICK if quick else FULL, fitted)
    measured: list[Row] = []
    for name, row in _rows(teacher).items():
        if not words or any(word in name for word in words):
            note(name.replace("_", " "))
            rows_of = row(bench)
            write_rows(table, model, "untouched Latent-CLIP" if teacher is None else "CLIP on pixels", rows_of)
            measured += rows_of
    return measured


def _rows(teacher: Path | None) -> dict[str, Callable[[Workbench], list[Row]]]:
    pixel = None if teacher is None else LatentCLIP.from_pretrained(teacher)
    return {
        "looks": partial(rows.looks, pixel_teacher=pixel),
        "guarded": rows.guarded,
        "promised_rate": rows.promised_rate,
        "concept_leave_one_out": concept_leave_one_out,
    }


def write_rows(path: Path, model: str, teacher: str, measured: Sequence[Row]) -> None:
    """The table with these rows, in place of earlier ones about the same."""
    kept = pd.read_csv(path, dtype=str, keep_default_na=False) if path.exists() else pd.DataFrame(columns=COLUMNS)
    lines = [
        (model, teacher, row.what, row.target, row.measured, str(row.samples), VERDICTS[row.reached], row.note)
        for row in measured
    ]
    fresh = pd.DataFrame(lines, columns=COLUMNS)
    keys = ["generator", "teacher", "what"]
    both = pd.concat([kept, fresh]).drop_duplicates(keys, keep="last").sort_values(keys[:2], kind="stable")
    write_atomic(path, table_csv(both))
