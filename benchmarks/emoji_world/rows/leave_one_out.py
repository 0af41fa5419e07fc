"""The selling point of concepts in text, measured: an unsafe object left out of the bank, then added by its name alone.

On rendered scenes as the world's VAE encodes them, so that nothing but the bank decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.emoji_world.rendered_scenes import pictures_of
from benchmarks.emoji_world.workbench import RENDER_SEED
from latent_guard.bench.arrays import Bools
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibrate import calibrate
from latent_guard.concepts.calibration_set import Generations
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.worlds.emoji.autoencoder import encode
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, BY_NAME, SAFE_NAMES
from latent_guard.worlds.emoji.scenes import FULL, Scene, place

if TYPE_CHECKING:
    from latent_guard.latent_clip.model import LatentCLIP

RATE = 0.02


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Which scenes that show an object are found, (N,) each, by what the bank knows: all prompts, none, its name."""

    name: str
    complete: Bools
    without: Bools
    added: Bools


def leave_out(
    model: LatentCLIP, vae: Any, prompt_sets: Sequence[PromptSet], names: Sequence[str], scenes: int
) -> Iterator[LeftOut]:
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
        yield LeftOut(name, *(_found(bank, safe, shown) for bank in banks))


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


def _seen(features: Tensor, bank: ConceptBank) -> Generations:
    """Scenes as generations with a single look, at the finished latents."""
    shows = torch.zeros(len(features), len(bank.categories), dtype=torch.bool)
    return Generations(features[:, None], torch.zeros(1), shows, bank.categories, bank.fingerprint, "rendered scenes")


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
