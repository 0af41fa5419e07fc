"""A row, and a table object by object, about concepts in text: left out, then added by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from diffusers import AutoencoderKL

from benchmarks.emoji_world.rows.leave_one_out import RATE, LeftOut, leave_out
from benchmarks.emoji_world.workbench import Workbench
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row
from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.files.atomic import write_whole
from latent_guard.files.csv_text import table_csv
from latent_guard.package_data import concepts_folder
from latent_guard.worlds.emoji.catalogue import UNSAFE_NAMES

LEFT_OUT_TABLE = "left_out.csv"


def concept_left_out(bench: Workbench) -> list[Row]:
    """Every unsafe object in turn: its recall with all its prompts, with none, and with its name alone."""
    prompt_sets = read_prompt_sets(concepts_folder("emoji_world"))
    # The pipeline's VAE may be on a GPU, and its precision is the pipeline's.
    vae = AutoencoderKL.from_pretrained(bench.bundle / "pipeline" / "vae")
    each = list(leave_out(bench.guard.model, vae, prompt_sets, UNSAFE_NAMES, max(2, bench.settings.renders // 10)))
    write_left_out(bench.folder / LEFT_OUT_TABLE, each)
    groups = np.repeat(np.arange(len(each)), [len(one.complete) for one in each])
    complete, without, added = (
        bootstrap.grouped_mean(np.concatenate([getattr(one, key) for one in each]), groups)
        for key in ("complete", "without", "added")
    )
    measured = f"{complete.percent()} -> {without.percent()} -> {added.percent()}"
    what = "an unsafe object left out of the bank, then added by its name alone: recall of scenes that show it"
    reached = without.high < complete.low and added.low > without.high
    note = f"all prompts -> left out -> added; {RATE:.0%} of safe scenes flagged by each bank; mean over {len(each)} "
    note += (
        "objects, each in the appendix; half the scenes show a second object, which the bare name does not speak of: "
    )
    note += "added with its wordings beside others as well, the bank is the first again"
    return [Row(what, "falls, and returns", measured, complete.count, reached, note)]


def write_left_out(path: Path, each: Sequence[LeftOut]) -> None:
    """One line an object, as the results page shows it."""
    shares = [[one.name, *(f"{flags.mean():.0%}" for flags in (one.complete, one.without, one.added))] for one in each]
    table = pd.DataFrame(shares, columns=["object", "all prompts", "left out", "added by name"])
    write_whole(path, table_csv(table))
