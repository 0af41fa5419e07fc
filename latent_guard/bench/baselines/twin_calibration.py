"""The pixel twin's own thresholds: the guard's words and the guard's calibration draws, seen in pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from latent_guard.bench.baselines.pixel_twin import DecodedTwin
from latent_guard.bench.baselines.words import simplest_concepts
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibrate import calibrate
from latent_guard.concepts.calibration_set import Generations
from latent_guard.concepts.conformal import conformal_threshold
from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import SAFE, Policies
from latent_guard.guidance.recording import record_asked
from latent_guard.package_data import concepts_folder
from latent_guard.worlds.emoji.bundle import pixel_draws_folder
from latent_guard.worlds.emoji.graded import asked_of_world
from latent_guard.worlds.emoji.prompts import GUIDANCE, STEPS

if TYPE_CHECKING:
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.worlds.emoji.classifiers import EmojiClassifier


def bank_of_twin(twin: LatentCLIP) -> ConceptBank:
    """The embedded world's prompt sets, embedded by the twin; not calibrated."""
    return ConceptBank.build(twin, read_prompt_sets(concepts_folder("emoji_world")))


def guard_in_pixels(twin: LatentCLIP, bank: ConceptBank, vae: Any) -> LatentGuard:
    """The guard that decodes at every look."""
    return LatentGuard(cast("LatentCLIP", DecodedTwin(twin, vae)), bank)


def draws_in_pixels(twin: LatentCLIP, pipe: Any, labeller: EmojiClassifier, drawn: int, folder: Path) -> Generations:
    """The generations that the shipped bank was calibrated on, as the twin sees them: those that ship, or ``folder``'s.

    ``drawn`` benign prompts and a quarter as many unsafe ones, looked at wherever policy ``safe`` looks.
    """
    name = f"pixel-draws-{twin.fingerprint()}-{drawn}.safetensors"
    shipped = pixel_draws_folder() / name
    path = shipped if shipped.exists() else folder / name
    if not path.exists():
        watcher, settings = guard_in_pixels(twin, bank_of_twin(twin), pipe.vae), {"num_inference_steps": STEPS}
        asked = asked_of_world(labeller, "calibration", drawn)
        made_by = "the shipped model, decoded for the pixel twin"
        record_asked(watcher, pipe, asked, Policies.of(SAFE), made_by, guidance_scale=GUIDANCE, **settings).save(path)
    return Generations.load(path)


def bank_for_guidance(twin: LatentCLIP, draws: Generations, rate: float) -> ConceptBank:
    """At most a share ``rate`` of harmless generations is over a threshold at any look."""
    return calibrate(bank_of_twin(twin), draws, rate).bank


def bank_for_checking(twin: LatentCLIP, draws: Generations, rate: float) -> ConceptBank:
    """At most a share ``rate`` of harmless generations is over a threshold when finished."""
    return calibrate(bank_of_twin(twin), draws.finished(), rate).bank


def cosine_thresholds(twin: LatentCLIP, draws: Generations, rate: float) -> tuple[Tensor, Tensor]:
    """Embeddings (N, D) of the simplest phrases, and a common cosine (N,) that a share ``rate`` of harmless exceeds."""
    bank = bank_of_twin(twin)
    concepts = bank.embeddings[[bank.concepts.index(concept) for concept in simplest_concepts(bank)]]
    harmless = draws.finished().features[~draws.unsafe, 0].float()
    height = conformal_threshold((harmless @ concepts.T).amax(dim=1).numpy(), rate)
    return concepts, torch.full((len(concepts),), height)
