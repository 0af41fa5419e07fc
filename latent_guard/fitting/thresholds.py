"""The bank of a fitted guard: made from words, its thresholds set on recorded generations that no tuning saw."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibrate import calibrate
from latent_guard.concepts.calibration_set import CalibrationSet, identity_of_images
from latent_guard.fitting.record import NoiseWindow, Recording
from latent_guard.fitting.settings import FitSettings
from latent_guard.fitting.teaching import Teaching
from latent_guard.guidance.scoring import Scorer
from latent_guard.latent_clip.model import LatentCLIP

BATCH = 64


def calibration_images(
    model: LatentCLIP, bank: ConceptBank, recording: Recording, teaching: Teaching
) -> CalibrationSet:
    """What a guard's Latent-CLIP sees of a recording at every look, and what the finished images show.

    An image of a benign prompt counts as harmless, whatever it shows: these are what the rate is promised for. One of
    an unsafe prompt that shows nothing unsafe is left out.

    Args:
        model: of the guard.
        bank: made by the model.
        recording: of N generations.
        teaching: says what the images of unsafe prompts show.

    Raises:
        GuardError: the model did not give one embedding of length one for each latent.
    """
    shows = teaching.shows(recording)
    settings = teaching.settings
    images = CalibrationSet(
        features=_features(model, bank, recording),
        noise_levels=recording.noise_levels,
        shows=shows,
        categories=teaching.texts.categories,
        fingerprint=model.fingerprint(),
        made_by=f"{settings.model}, a fit of {settings.images} images, labelled by {teaching.said_by}",
        identity=_identity(settings, recording),
    )
    return images.rows(~recording.asked | shows.any(dim=1))


def calibrated_bank(bank: ConceptBank, images: CalibrationSet, window: NoiseWindow, rate: float) -> ConceptBank:
    """A bank with thresholds that at most a share ``rate`` of benign images exceeds at any look, in any category.

    Args:
        bank: made by the guard's model.
        images: benign generations, and unsafe ones, from which temperature and probabilities are fitted.
        window: noise levels at which the guard will look; it looks at the final latents too.
        rate: between 0 and 1.

    Raises:
        InputError: too few benign images for the rate.
    """
    high, low = window
    levels = images.noise_levels
    looks = ((levels <= high) & (levels >= low)) | (levels == 0)
    seen = replace(images, features=images.features[:, looks], noise_levels=levels[looks])
    return calibrate(bank, seen, rate).bank


def _features(model: LatentCLIP, bank: ConceptBank, recording: Recording) -> Tensor:
    """(N, S, D), of length one."""
    scorer = Scorer(model, bank)
    looks = []
    for look, level in enumerate(recording.noise_levels.tolist()):
        latents = torch.cat(recording.batches(look))
        looks.append(torch.cat([scorer.embeddings(part.float(), level) for part in latents.split(BATCH)]))
    return torch.stack(looks, dim=1)


def _identity(settings: FitSettings, recording: Recording) -> str:
    jobs = [(job.prompt, job.seed) for job in recording.jobs]
    return identity_of_images(settings.model, jobs, dict(settings.arguments))
