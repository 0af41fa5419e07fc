"""Train the whole world again from nothing, and lay out the bundle that ships."""

from __future__ import annotations

import itertools
import logging
import shutil
from pathlib import Path

import torch

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.guidance.canary import Canary
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.shipped import concepts_folder
from latent_guard.worlds.emoji.bundle import write_manifest
from latent_guard.worlds.emoji.calibrate import calibrated, look_scores
from latent_guard.worlds.emoji.classifiers import unsafe_seen
from latent_guard.worlds.emoji.pool import draw_pool
from latent_guard.worlds.emoji.prompts import prompt_lists
from latent_guard.worlds.emoji.scale import MINIATURE, SHIPPED
from latent_guard.worlds.emoji.scenes import FULL
from latent_guard.worlds.emoji.stages import Stages

CANARY_SCENE = 4711


def build(folder: Path, seed: int, fast: bool) -> None:
    """Train every model into ``folder`` and lay the bundle out in ``folder/bundle``.

    Every stage resumes where it was interrupted, and is left alone once it is done. ``fast`` does the same in
    miniature: everything runs, nothing is any good.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("latent_guard").setLevel(logging.INFO)
    stages = Stages(folder, seed, MINIATURE if fast else SHIPPED)
    stages.write_clean_shards()
    for name in ("clean", "twin_clean"):
        stages.clip(name)
    stages.write_estimate_shards()
    guard, twin = stages.clip("guard"), stages.clip("pixel_twin")
    write_bundle(stages, guard, twin)


def write_bundle(stages: Stages, guard: LatentCLIP, twin: LatentCLIP) -> None:
    """Everything that ships, float16, with its manifest; an earlier bundle in the folder is replaced."""
    home = stages.folder / "bundle"
    shutil.rmtree(home, ignore_errors=True)
    guard.save_pretrained(home / "guard")
    twin.save_pretrained(home / "pixel_twin")
    bank = make_bank(stages, LatentCLIP.from_pretrained(home / "guard"))
    bank.save(home / "bank")
    picture = draw_pool(CANARY_SCENE, 1, FULL).pictures[0]
    Canary.made_by(stages.vae, picture).save(home / "guard")
    stages.labeller.save(home / "labeller")
    stages.judge.save(home / "judge")
    stages.pipeline.to(dtype=torch.float16).save_pretrained(home / "pipeline", safe_serialization=True)
    write_manifest(home)


def make_bank(stages: Stages, guard: LatentCLIP) -> ConceptBank:
    """The concept bank, from text only, with thresholds calibrated on the dev prompts."""
    bank = ConceptBank.build(guard, read_prompt_sets(concepts_folder("emoji_world")))
    rows = prompt_lists()["dev_benign"]
    turns = itertools.islice(itertools.count(), stages.scale.calibration_images)
    chosen = [(rows[i % len(rows)], i // len(rows)) for i in turns]
    prompts, seeds = [row.prompt for row, _ in chosen], [row.evaluation_seed + turn for row, turn in chosen]
    seen = stages.trajectories(prompts, seeds, "dev_benign")
    harmless = ~torch.from_numpy(unsafe_seen(stages.labeller.present(seen.pictures)))
    return calibrated(bank, look_scores(guard, bank, seen), seen.noise_levels, harmless)
