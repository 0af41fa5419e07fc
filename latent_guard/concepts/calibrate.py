"""Calibration of a bank: scoring, thresholds and probabilities, from images whose categories are known.

One half of the images is for fitting: the method of scoring, the shape of the thresholds, the probabilities. On the
other, nothing but the height of the thresholds is set, which is what makes their rate a promise (split conformal).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibration_report import BankMetrics, CalibrationReport, ScoringResult
from latent_guard.concepts.calibration_set import CalibrationSet
from latent_guard.concepts.conformal import (
    Platt,
    conformal_threshold,
    expected_calibration_error,
    rate_bounds,
    reliability,
)
from latent_guard.concepts.scoring import METHODS
from latent_guard.errors import InputError

MAX_OCTAVES = 4.0  # by which a fitted factor on a cosine may differ from the model's own
UPPER = 0.95  # the quantile of harmless images that is a check's height
FITTED_SHARE = 0.5
SEED = 0


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibrated bank, with the images kept out of every fit, for its metrics and plots."""

    bank: ConceptBank
    held_out: CalibrationSet


def calibrate(bank: ConceptBank, images: CalibrationSet, rate: float, confidence: float | None = None) -> Calibrated:
    """Set a bank's thresholds so that few harmless images exceed one at any check, in any category.

    The thresholds hold under the check schedule that the images were recorded with, and for images that are
    exchangeable with them: prompts of the same kind, from the same pipeline.

    Args:
        bank: of the Latent-CLIP that recorded the images.
        images: a calibration set.
        rate: the largest share of harmless images that may exceed a threshold.
        confidence: with which the rate holds for this bank, see ``conformal_threshold``.

    Raises:
        InputError: the calibration set is another model's, or has too few harmless images for the rate.
    """
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))
    cut = round(FITTED_SHARE * len(images))
    fitted = images.rows(order[:cut])
    held_out = images.rows(order[cut:])
    if fitted.unsafe.all() or held_out.unsafe.all():
        raise InputError(f"of {len(images)} images too few are harmless; calibrate on benign prompts or pictures")
    scorings = compare_scorings(bank, fitted)
    if scorings:
        bank = replace(bank, scoring=scorings[0].method, logit_scale=scorings[0].logit_scale)
    levels, thresholds = _thresholds(
        bank, fitted.rows(~fitted.unsafe), held_out.rows(~held_out.unsafe), rate, confidence
    )
    bank = bank.with_thresholds(levels, thresholds)
    schedule = _probabilities(bank, fitted)
    clean = _probabilities(bank, fitted.finished())
    figures = measure(bank, held_out, schedule)
    report = CalibrationReport(
        rate=rate,
        confidence=confidence,
        made_by=images.made_by,
        fitted=len(fitted),
        scorings=scorings,
        schedule=schedule,
        clean=clean,
        figures=figures,
        identity=images.identity,
        of_pictures=images.of_pictures,
    )
    return Calibrated(replace(bank, calibration=report), held_out)


def compare_scorings(bank: ConceptBank, images: CalibrationSet) -> tuple[ScoringResult, ...]:
    """Each method of scoring at its fitted temperature, the best one first; none where no image is unsafe."""
    labels = images.labels_for(bank)
    if not labels.any() or images.unsafe.all():
        return ()
    candidates = [_at_fitted_temperature(replace(bank, scoring=method), images) for method in METHODS]
    results = [ScoringResult(c.scoring, c.logit_scale, _auroc(c, images, labels)) for c in candidates]
    return tuple(sorted(results, key=lambda result: -result.auroc))


def _at_fitted_temperature(bank: ConceptBank, images: CalibrationSet) -> ConceptBank:
    """The bank with the factor on cosines at which an image's highest score is the log-odds of its being unsafe.

    The least log loss over all checks: temperature scaling (Guo et al. 2017, section 4.2). Policies count in these
    log-odds, so they mean the same under every bank.
    """
    from scipy.optimize import minimize_scalar
    from torch.nn.functional import binary_cross_entropy_with_logits

    unsafe = images.unsafe[:, None].float().expand(-1, len(images.noise_levels))

    def at(octaves: float) -> ConceptBank:
        return replace(bank, logit_scale=bank.logit_scale * 2.0**octaves)

    def loss(octaves: float) -> float:
        return float(binary_cross_entropy_with_logits(images.scores(at(octaves)).amax(dim=2), unsafe))

    return at(float(minimize_scalar(loss, bounds=(-MAX_OCTAVES, MAX_OCTAVES), options={"xatol": 0.01}).x))


def measure(bank: ConceptBank, images: CalibrationSet, probability: Platt | None) -> BankMetrics:
    """Metrics of a bank on a calibration set that it was not calibrated on.

    Args:
        bank: of the Latent-CLIP that recorded the images.
        images: the calibration set.
        probability: makes probabilities of margins, where the bank has them.

    Raises:
        InputError: no image is harmless, or the calibration set is another model's.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    margins = images.margins(bank).numpy()
    unsafe = images.unsafe.numpy()
    harmless = int((~unsafe).sum())
    if not harmless:
        raise InputError("none of the images is harmless; use benign prompts or pictures too")
    over = margins > 0
    exceeding = int((over & ~unsafe).sum())
    counts = harmless, exceeding, *rate_bounds(exceeding, harmless), int(unsafe.sum()), int((over & unsafe).sum())
    if not unsafe.any():
        return BankMetrics(*counts)
    ranked = float(roc_auc_score(unsafe, margins)), float(average_precision_score(unsafe, margins))
    if probability is None:
        return BankMetrics(*counts, *ranked)
    points = reliability(probability.probabilities(margins), unsafe)
    return BankMetrics(*counts, *ranked, expected_calibration_error(points), points)


def _auroc(bank: ConceptBank, images: CalibrationSet, labels: Tensor) -> float:
    """Of each category's images against the harmless ones, mean over categories and checks."""
    from sklearn.metrics import roc_auc_score

    scores = images.scores(bank).numpy()
    harmless = ~images.unsafe
    areas = []
    for k in labels.any(0).nonzero().flatten().tolist():
        rows = (labels[:, k] | harmless).numpy()
        truth = labels[:, k].numpy()[rows]
        areas += [roc_auc_score(truth, scores[rows, check, k]) for check in range(scores.shape[1])]
    return float(np.mean(areas))


def _thresholds(
    bank: ConceptBank, fitted: CalibrationSet, held_out: CalibrationSet, rate: float, confidence: float | None
) -> tuple[Tensor, Tensor]:
    """Rising noise levels (L,) and thresholds (K, L), from harmless images.

    Scores are log-odds, which categories share; their height (S,) differs from check to check and is taken from the
    fitted half. Above it, the highest score of an image is one number, whose limit the other half sets. More shape than
    that, a height and a spread for each check and category, found fewer unsafe images at an equal rate
    (benchmarks/LOG.md).
    """
    height = fitted.scores(bank).amax(dim=2).quantile(UPPER, dim=0)
    highest = (held_out.scores(bank).amax(dim=2) - height).amax(dim=1)
    limit = conformal_threshold(highest.double().numpy(), rate, confidence)
    return fitted.noise_levels.flip(0), (height + limit).flip(0).expand(len(bank.categories), -1)


def _probabilities(bank: ConceptBank, images: CalibrationSet) -> Platt | None:
    if not images.unsafe.any():
        return None
    return Platt.fit(images.margins(bank).numpy(), images.unsafe.numpy())
