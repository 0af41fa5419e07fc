"""``python -m benchmarks.emoji_world emoji``: the world's whole table, row by row, into ``benchmarks/RESULTS.md``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.emoji_world.attacks.benchmark import attack_success
from benchmarks.emoji_world.rows.auroc_by_step import AUROC_TABLE, auroc_in_mid_denoising
from benchmarks.emoji_world.rows.calibration import calibrated_rates
from benchmarks.emoji_world.rows.cost import COST_TABLE, command_in_a_new_process, one_look, published_architectures
from benchmarks.emoji_world.rows.early_exit import evaluations_of_refused, looks_on_benign
from benchmarks.emoji_world.rows.generation import explicit_one, explicit_two
from benchmarks.emoji_world.rows.guard import (
    benign_untouched,
    explicitly_unsafe,
    risky_unguarded,
    safe_member_seen,
    safe_on_risky,
    score_against_judge,
    steer_alone,
)
from benchmarks.emoji_world.rows.judge import judge_against_people, judge_on_renders
from benchmarks.emoji_world.rows.leave_one_out import LEAVE_ONE_OUT_TABLE, concept_leave_one_out
from benchmarks.emoji_world.rows.trigger_by_step import TRIGGER_TABLE, trigger_at_each_step
from benchmarks.emoji_world.rows.zero_shot import retrieval_on_renders, zero_shot_on_generated, zero_shot_on_renders
from benchmarks.emoji_world.snapshots import TRAINING_CURVE
from benchmarks.emoji_world.workbench import RENDER_SEED, Workbench
from latent_guard.bench.result_table import Row, RowStore, csv_appendix, results_page
from latent_guard.bench.runs.provenance import provenance
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.terminal import note
from latent_guard.worlds.emoji.arguments import GUIDANCE

RowFunction = Callable[[Workbench], list[Row]]

RESULTS = Path("benchmarks/RESULTS.md")
_KEPT = Path("benchmarks/results")
EXPERIMENTS = {  # each by a script or command of benchmarks/, which keeps its table
    "Guards that `latent-guard fit` made without labels (`emoji_world fitted`)": _KEPT / "fitted.csv",
    "Tuning without labels, by what is learnt from and how much (`emoji_world tuning`)": _KEPT / "tuning.csv",
    "Zero-shot top-1 on a second VAE: native, adapted, trained again (`adapter.py`)": _KEPT / "adapter.csv",
    "Zero-shot top-1 at other sizes, % (`sizes.py`)": _KEPT / "sizes.csv",
    "Zero-shot top-1 by samples seen, from nothing or from pixels, % (`from_pixels.py`)": _KEPT / "from_pixels.csv",
    "Photographs": _KEPT / "photographs_rows.csv",
    "Photographs: every model (`python -m benchmarks.photographs`)": _KEPT / "photographs.csv",
    "Photographs: moderation by words": _KEPT / "photographs_moderation_rows.csv",
    "Photographs: moderation by category and condition": _KEPT / "photographs_moderation.csv",
    "Service (`python -m benchmarks.service`)": _KEPT / "service.csv",
    "Noise optimisation, ReNO (`reno.py`, `reno_cost.py`)": _KEPT / "reno.csv",
    "Noise optimisation at the size of SDXL-Turbo and in Emoji World (`reno_cost.py`)": _KEPT / "reno_cost.csv",
    "A training step beside a plain open_clip loop, small model (`training.py`)": _KEPT / "training_small.csv",
}
ROWS: tuple[RowFunction, ...] = (
    judge_on_renders,
    judge_against_people,
    explicit_one,
    explicit_two,
    zero_shot_on_renders,
    retrieval_on_renders,
    zero_shot_on_generated,
    auroc_in_mid_denoising,
    trigger_at_each_step,
    risky_unguarded,
    steer_alone,
    safe_on_risky,
    safe_member_seen,
    explicitly_unsafe,
    benign_untouched,
    score_against_judge,
    looks_on_benign,
    evaluations_of_refused,
    calibrated_rates,
    concept_leave_one_out,
    attack_success,
    one_look,
    command_in_a_new_process,
    published_architectures,
)


def chosen_rows(names: Sequence[str]) -> list[RowFunction]:
    """The rows whose name contains any of these words; all without any.

    Raises:
        InputError: a word is in no row's name.
    """
    for name in names:
        if not any(name in row.__name__ for row in ROWS):
            known = ", ".join(row.__name__ for row in ROWS)
            raise InputError(f"no row is called {name!r}; the rows are {known}")
    return [row for row in ROWS if not names or any(name in row.__name__ for name in names)]


def run_benchmark(bench: Workbench, rows: Sequence[RowFunction], results: Path = RESULTS) -> list[Row]:
    """Measure these rows; write them with what other runs of the same configuration measured before.

    The page is written again after every row, so that an interrupted run leaves what it has.
    """
    store = RowStore(bench.folder / "rows.json", bench.key)
    for number, row in enumerate(rows, start=1):
        note(f"row {number} of {len(rows)}: {row.__name__.replace('_', ' ')}")
        store.put(row.__name__, row(bench))
        write_results(results, bench, store)
    return [line for row in rows for line in store.get(row.__name__)]


def write_results(path: Path, bench: Workbench, store: RowStore) -> None:
    """The page: what made the figures, all rows measured so far, appendices."""
    rows = [line for row in ROWS for line in store.get(row.__name__)]
    tables = {
        "AUROC of unsafe against safe at each step, with and without training on clean estimates": bench.folder
        / AUROC_TABLE,
        "Precision and recall of the trigger at each step": bench.folder / TRIGGER_TABLE,
        "Recall of an unsafe object's scenes, with the object left out of the bank, and added by its name": bench.folder
        / LEAVE_ONE_OUT_TABLE,
        "Explicit-prompt success against training steps": TRAINING_CURVE,
        "Cost in the published architectures, random weights; GFLOP are counted, not timed": COST_TABLE,
        **EXPERIMENTS,
    }
    appendices = [text for title, table in tables.items() if (text := csv_appendix(title, table))]
    write_atomic(path, results_page("Emoji World: what it shows", facts(bench), rows, appendices).encode())


def facts(bench: Workbench) -> dict[str, str]:
    """What made the figures."""
    spec, made_by = bench.spec, provenance(bench.bundle)
    scheduler = type(bench.pipe.scheduler).__name__
    return {
        "bundle": made_by.bundle,
        "commit": made_by.commit,
        "package": f"{made_by.package}; {made_by.libraries}",
        "machine": f"{made_by.machine}; load when written {os.getloadavg()[0]:.1f}",
        "images": f"{bench.images} a row, {bench.split} prompts in benchmark order, batches of "
        f"{spec.batch_size}; a prompt's images have seeds evaluation_seed, evaluation_seed + 1, ...",
        "sampler": f"{scheduler}, {spec.steps} steps, guidance scale {GUIDANCE}",
        "renders": f"{bench.settings.renders} scenes of seed {RENDER_SEED}, full variety",
        "judge": bench.judge.preset,
        "intervals": "95%: bootstrap over prompts (2,000 resamples); over objects for average precision, over pairs "
        "for AUROC, over batches for evaluations; Wilson's where samples are independent",
    }
