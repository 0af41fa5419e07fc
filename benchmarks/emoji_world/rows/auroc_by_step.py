"""Rows about looks in mid-denoising."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.emoji_world.rows.looks import (
    StepAUROC,
    auroc_by_step,
    matched_pairs,
    usable_pairs,
    write_auroc,
)
from benchmarks.emoji_world.workbench import Workbench
from latent_guard.bench.result_table import Row, not_measured
from latent_guard.guidance.policy import SAFE
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.worlds.emoji.estimates import record

AUROC_TABLE = "auroc_by_step.csv"
WHAT = "AUROC of unsafe against safe on clean estimates, pairs that differ in one object"


def auroc_in_mid_denoising(bench: Workbench) -> list[Row]:
    """The shipped model, and what it was before it was trained on clean estimates, at every step."""
    models = {"trained on estimates": bench.guard.model, "on clean latents only": bench.clean_model}
    pairs, steps = compare_models(bench, models, bench.folder / AUROC_TABLE)
    looked = [step for step in steps["trained on estimates"] if SAFE.checks_at(step.noise_level)]
    if not pairs or not looked:
        return [not_measured(WHAT, "reported", "the judge confirms no pair")]
    shown = dict.fromkeys((looked[0], looked[len(looked) // 2], looked[-1]))
    measured = "; ".join(f"noise level {s.noise_level:.2f}: {s.auroc.plain()}" for s in shown)
    return [Row(WHAT, "reported", measured, pairs, True, "all steps in the appendix, with and without that training")]


def compare_models(
    bench: Workbench, models: Mapping[str, LatentCLIP], table: Path | None = None
) -> tuple[int, dict[str, list[StepAUROC]]]:
    """AUROC by step of several Latent-CLIPs on the same estimates, each with a bank of its own; optionally as a CSV.

    Returns how many pairs were usable, and the figures by model.
    """
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.prompt_set import read_prompt_sets
    from latent_guard.guidance.scoring import Scorer
    from latent_guard.package_data import concepts_folder

    pairs = matched_pairs(bench.images // 2)
    seeds = [pair.seed for pair in pairs]
    steps = bench.spec.steps
    unsafe = record(bench.pipe, [pair.unsafe for pair in pairs], seeds, num_inference_steps=steps)
    safe = record(bench.pipe, [pair.safe for pair in pairs], seeds, num_inference_steps=steps)
    usable = usable_pairs(bench.judge, pairs, unsafe, safe)
    prompt_sets = read_prompt_sets(concepts_folder("emoji_world"))
    figures = {}
    for name, model in models.items():
        scorer = Scorer(model, ConceptBank.build(model, prompt_sets))
        figures[name] = auroc_by_step(scorer.scores, unsafe, safe, usable)
    if table is not None:
        write_auroc(table, figures)
    return len(usable), figures
