"""A pixel CLIP that reads latents through the pipeline's decoder, and its own thresholds.

The decoder is what guidance in pixels has to pay for. Words and calibration draws are those of the guard, seen in
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from latent_guard.bench.baselines.words import simplest_concepts
from latent_guard.bench.world import SHIPPED_WORLD
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibrate import calibrate
from latent_guard.concepts.calibration_set import CalibrationSet
from latent_guard.concepts.conformal import conformal_threshold
from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import SAFE, Policies
from latent_guard.guidance.recording import record_calibration_set
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.package_data import SHIPPED, concepts_folder
from latent_guard.pipelines.vae import shown_pixels


@dataclass(frozen=True)
class Reads:
    """What a guard asks of a model's config."""

    latent_space: LatentSpace


class DecodedPixelCLIP(nn.Module):
    """Stands where a Latent-CLIP stands; every look decodes, every gradient goes back through the decoder."""

    def __init__(self, clip: LatentCLIP, vae: Any) -> None:
        super().__init__()
        self.pixel_clip = clip
        self.config = Reads(LatentSpace.of_vae(vae))
        self._vae = (vae,)  # the pipeline's: in a tuple it is no part of this module

    def encode_latents(
        self, latents: Tensor, noise_level: float | Tensor | None = None, normalize: bool = False
    ) -> Tensor:
        """Embeddings (B, D) of raw latents (B, C, H, W); differentiable."""
        (vae,) = self._vae
        return self.pixel_clip.encode_latents(shown_pixels(vae, latents), noise_level, normalize=normalize)

    def encode_text(self, texts: Sequence[str], normalize: bool = False) -> Tensor:
        """Embeddings (B, D)."""
        return self.pixel_clip.encode_text(texts, normalize=normalize)

    def fingerprint(self) -> str:
        """The CLIP's: its banks are banks of this."""
        return self.pixel_clip.fingerprint()


def pixel_clip_bank(clip: LatentCLIP) -> ConceptBank:
    """The embedded world's prompt sets, embedded by the CLIP; not calibrated."""
    return ConceptBank.build(clip, read_prompt_sets(concepts_folder("emoji_world")))


def guard_in_pixels(clip: LatentCLIP, bank: ConceptBank, vae: Any) -> LatentGuard:
    """The guard that decodes at every look."""
    return LatentGuard(cast("LatentCLIP", DecodedPixelCLIP(clip, vae)), bank)


def draws_in_pixels(clip: LatentCLIP, bundle: Path, device: str, drawn: int, cache: Path) -> CalibrationSet:
    """The generations that the shipped bank was calibrated on, as the CLIP sees them: those that ship, or the cache's.

    They are of ``drawn`` benign prompts and a quarter as many unsafe ones, looked at wherever policy ``safe`` looks.
    They are made by the bundle's pipeline where neither holds them.
    """
    name = f"pixel-draws-{clip.fingerprint()}-{drawn}.safetensors"
    shipped = SHIPPED_WORLD.pixel_draws() / name
    path = shipped if shipped.exists() else cache / name
    if not path.exists():
        pipe = StableDiffusionPipeline.from_pretrained(bundle / "pipeline", torch_dtype=torch.float32).to(device)
        pipe.set_progress_bar_config(disable=True)
        watcher = guard_in_pixels(clip, pixel_clip_bank(clip), pipe.vae)
        labelled = SHIPPED_WORLD.labelled_prompts(bundle, "calibration", drawn)
        made_by = "the shipped model, decoded for the pixel CLIP"
        usual = SHIPPED_WORLD.usual_arguments(SHIPPED)
        record_calibration_set(watcher, pipe, labelled, Policies.of(SAFE), made_by, **usual).save(path)
    return CalibrationSet.load(path)


def bank_for_guidance(clip: LatentCLIP, draws: CalibrationSet, rate: float) -> ConceptBank:
    """At most a share ``rate`` of harmless generations is over a threshold at any look."""
    return calibrate(pixel_clip_bank(clip), draws, rate).bank


def bank_for_checking(clip: LatentCLIP, draws: CalibrationSet, rate: float) -> ConceptBank:
    """At most a share ``rate`` of harmless generations is over a threshold when finished."""
    return calibrate(pixel_clip_bank(clip), draws.finished(), rate).bank


def cosine_thresholds(clip: LatentCLIP, draws: CalibrationSet, rate: float) -> tuple[Tensor, Tensor]:
    """Embeddings (N, D) of the simplest phrases, and a common cosine (N,) that a share ``rate`` of harmless exceeds."""
    bank = pixel_clip_bank(clip)
    concepts = bank.embeddings[[bank.concepts.index(concept) for concept in simplest_concepts(bank)]]
    harmless = draws.finished().features[~draws.unsafe, 0].float()
    height = conformal_threshold((harmless @ concepts.T).amax(dim=1).numpy(), rate)
    return concepts, torch.full((len(concepts),), height)
