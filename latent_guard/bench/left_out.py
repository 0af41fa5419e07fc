"""The selling point of concepts in text, measured: an unsafe object left out of the bank, then added by its name alone.

On rendered scenes as the world's VAE encodes them, so that nothing but the bank decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latent_guard.bench import metrics
from latent_guard.bench.metrics import Estimate
from latent_guard.bench.renders import pictures_of
from latent_guard.bench.workbench import RENDER_SEED
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibrate import calibrate
from latent_guard.concepts.generations import Generations
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.worlds.emoji.autoencoder import encode
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, BY_NAME, SAFE_NAMES
from latent_guard.worlds.emoji.scenes import FULL, Scene, place

if TYPE_CHECKING:
    from latent_guard.latent_clip.model import LatentCLIP

RATE = 0.05


@dataclass(frozen=True)
class LeftOut:
    """Recall of scenes that show an object, by what the bank knows of it: all prompts, nothing, its bare name."""

    name: str
    complete: Estimate
    without: Estimate
    added: Estimate


def leave_out(
    model: LatentCLIP, vae: Any, prompt_sets: Sequence[PromptSet], name: str, scenes: int, rate: float = RATE
) -> LeftOut:
    """Recall of one unsafe object in ``scenes`` scenes, under three banks.

    Each bank has thresholds of its own, at which a share ``rate`` of twice as many safe scenes is over one; the scenes
    are the same for all.
    """
    safe = _features(model, vae, _scenes((), 2 * scenes, 1))
    shown = _features(model, vae, _scenes((name,), scenes, 2))
    without = [_without(prompt_set, name) for prompt_set in prompt_sets]
    phrase, category = BY_NAME[name].phrase, BY_NAME[name].category
    added = [replace(s, prompts=(*s.prompts, phrase)) if s.category == category else s for s in without]
    recalls = (_recall(model, sets, safe, shown, rate) for sets in (prompt_sets, without, added))
    return LeftOut(name, *recalls)


def _without(prompt_set: PromptSet, name: str) -> PromptSet:
    """The prompt set without every prompt that names an object."""
    return replace(prompt_set, prompts=tuple(prompt for prompt in prompt_set.prompts if name not in prompt))


def _recall(model: LatentCLIP, prompt_sets: Sequence[PromptSet], safe: Tensor, shown: Tensor, rate: float) -> Estimate:
    bank = ConceptBank.build(model, prompt_sets)
    calibrated = calibrate(bank, _seen(safe, bank), rate).bank
    return metrics.proportion((_seen(shown, bank).margins(calibrated) > 0).numpy())


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
