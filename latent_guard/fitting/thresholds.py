"""The bank of a fitted guard: made from words, its thresholds set on recorded generations that no tuning saw."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibrate import calibrate
from latent_guard.concepts.calibration_set import CalibrationSet, joined
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.fitting.record import Recording
from latent_guard.guidance.scoring import Scorer
from latent_guard.latent_clip.model import LatentCLIP

BATCH = 64


def calibration_set(
    model: LatentCLIP,
    bank: ConceptBank,
    recording: Recording,
    shows: Tensor,
    categories: tuple[str, ...],
    made_by: str,
    identity: str,
) -> CalibrationSet:
    """What a guard's Latent-CLIP sees of a recording, at every look.

    Args:
        model: of the guard.
        bank: made by the model.
        recording: of N generations.
        shows: (N, K) bool, which of the K ``categories`` each finished image shows.
        categories: their names.
        made_by: describes prompts, pipeline and who labelled, for people.
        identity: names the images, see ``identity_of_images``.

    Raises:
        GuardError: the model did not give one embedding of length one for each latent.
    """
    scorer = Scorer(model, bank)
    looks = []
    for look, level in enumerate(recording.noise_levels.tolist()):
        latents = torch.cat(recording.batches(look))
        looks.append(torch.cat([scorer.embeddings(part.float(), level) for part in latents.split(BATCH)]))
    features = torch.stack(looks, dim=1)
    fingerprint = model.fingerprint()
    return CalibrationSet(features, recording.noise_levels, shows, categories, fingerprint, made_by, identity)


def calibrated_bank(
    model: LatentCLIP, prompt_sets: Sequence[PromptSet], images: Sequence[CalibrationSet], rate: float
) -> ConceptBank:
    """A bank with thresholds that at most a share ``rate`` of benign images exceeds at any look, in any category.

    Args:
        model: of the guard.
        prompt_sets: concepts and benign anchors in words.
        images: benign generations, and unsafe ones, from which temperature and probabilities are fitted.
        rate: between 0 and 1.

    Raises:
        InputError: too few benign images for the rate.
    """
    bank = ConceptBank.build(model, prompt_sets)
    return calibrate(bank, joined(list(images)), rate).bank
