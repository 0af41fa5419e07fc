"""The selling point of concepts in text, measured: an unsafe object left out of the bank, then added by its name alone.

On rendered scenes as the world's VAE encodes them, so that nothing but the bank decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from benchmarks.emoji_world.rendered_scenes import pictures_of
from benchmarks.emoji_world.workbench import RENDER_SEED, Workbench
from latent_guard.bench.arrays import Bools
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibrate import calibrate
from latent_guard.concepts.calibration_set import CalibrationSet
from latent_guard.concepts.prompt_set import PromptSet, read_prompt_sets
from latent_guard.files.atomic import write_atomic
from latent_guard.files.csv_text import table_csv
from latent_guard.package_data import concepts_folder
from latent_guard.worlds.emoji.autoencoder import encode
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, BY_NAME, SAFE_NAMES, UNSAFE_NAMES
from latent_guard.worlds.emoji.scenes import FULL, Scene, place

if TYPE_CHECKING:
    from latent_guard.latent_clip.model import LatentCLIP

LEAVE_ONE_OUT_TABLE = "leave_one_out.csv"
RATE = 0.02


def concept_leave_one_out(bench: Workbench) -> list[Row]:
    """Every unsafe object in turn: its recall with all its prompts, with none, and with its name alone."""
    prompt_sets = read_prompt_sets(concepts_folder("emoji_world"))
    # The pipeline's VAE may be on a GPU, and its precision is the pipeline's.
    vae = AutoencoderKL.from_pretrained(bench.bundle / "pipeline" / "vae")
    each = list(leave_one_out(bench.guard.model, vae, prompt_sets, UNSAFE_NAMES, max(2, bench.settings.renders // 10)))
    write_leave_one_out(bench.folder / LEAVE_ONE_OUT_TABLE, each)
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


def write_leave_one_out(path: Path, each: Sequence[LeaveOneOut]) -> None:
    """One line an object, as the results page shows it."""
    shares = [[one.name, *(f"{flags.mean():.0%}" for flags in (one.complete, one.without, one.added))] for one in each]
    table = pd.DataFrame(shares, columns=["object", "all prompts", "left out", "added by name"])
    write_atomic(path, table_csv(table))


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Which scenes that show an object are found, (N,) each, by what the bank knows: all prompts, none, its name."""

    name: str
    complete: Bools
    without: Bools
    added: Bools


def leave_one_out(
    model: LatentCLIP, vae: Any, prompt_sets: Sequence[PromptSet], names: Sequence[str], scenes: int
) -> Iterator[LeaveOneOut]:
    """What is found of each unsafe object in ``scenes`` scenes, under three banks.

    Each bank has thresholds of its own, at which a share ``RATE`` of some thousand safe scenes is over one; the scenes
    are the same for all.
    """
    safe = _features(model, vae, _scenes((), max(1000, scenes), 1))
    complete = ConceptBank.build(model, prompt_sets)
    for name in names:
        shown = _features(model, vae, _scenes((name,), scenes, 2))
        without = _rows(complete, [name not in concept.prompt for concept in complete.concepts])
        banks = complete, without, _with_name(without, model, prompt_sets, name)
        yield LeaveOneOut(name, *(_found(bank, safe, shown) for bank in banks))


def _with_name(bank: ConceptBank, model: LatentCLIP, prompt_sets: Sequence[PromptSet], name: str) -> ConceptBank:
    """The bank with one prompt more: the object's name, in its category's templates."""
    thing = BY_NAME[name]
    own = next(prompt_set for prompt_set in prompt_sets if prompt_set.category == thing.category)
    alone = ConceptBank.build(model, [replace(own, prompts=(thing.phrase,), benign_prompts=own.benign_prompts[:1])])
    return replace(
        bank, concepts=bank.concepts + alone.concepts, embeddings=torch.cat([bank.embeddings, alone.embeddings])
    )


def _rows(bank: ConceptBank, kept: Sequence[bool]) -> ConceptBank:
    concepts = tuple(concept for concept, keep in zip(bank.concepts, kept, strict=True) if keep)
    return replace(bank, concepts=concepts, embeddings=bank.embeddings[torch.tensor(kept)])


def _found(bank: ConceptBank, safe: Tensor, shown: Tensor) -> Bools:
    calibrated = calibrate(bank, _seen(safe, bank), RATE).bank
    over: Bools = (_seen(shown, bank).margins(calibrated) > 0).numpy()
    return over


def _seen(features: Tensor, bank: ConceptBank) -> CalibrationSet:
    """Scenes as a calibration set with a single check, of the finished latents."""
    shows = torch.zeros(len(features), len(bank.categories), dtype=torch.bool)
    return CalibrationSet(
        features[:, None], torch.zeros(1), shows, bank.categories, bank.fingerprint, "rendered scenes"
    )


@torch.no_grad()
def _features(model: LatentCLIP, vae: Any, scenes: Sequence[Scene]) -> Tensor:
    latents = encode(vae, torch.from_numpy(pictures_of(scenes)))
    batches = latents.to(model.logit_scale.device).split(256)
    return torch.cat([model.encode_latents(batch, 0.0, normalize=True).float().cpu() for batch in batches])


def _scenes(names: tuple[str, ...], count: int, stream: int) -> list[Scene]:
    """Scenes of the objects named, alone and beside a safe one in turn; without a name, of one and of two safe ones."""
    made = []
    for number in range(count):
        rng = np.random.default_rng([RENDER_SEED, 3, stream, number])
        safe = [str(name) for name in rng.choice(SAFE_NAMES, size=number % 2 + (not names), replace=False)]
        objects = [*names, *safe]
        rng.shuffle(objects)
        made.append(Scene(place(tuple(objects), FULL, rng), str(rng.choice(BACKGROUNDS))))
    return made
