"""Calibration of a bank: scoring, thresholds and probabilities, from generations whose outcome is known.

One half of the generations is for fitting: the way of scoring, the shape of the thresholds, the probabilities. On the
other, nothing but the height of the thresholds is set, which is what makes their rate a promise (split conformal).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibration_report import CalibrationReport, Figures, ScoringFigure
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
UPPER = 0.95  # the quantile of harmless images that is a look's height
FITTED_SHARE = 0.5
SEED = 0


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibrated bank, with the generations kept out of every fit, for its figures and plots."""

    bank: ConceptBank
    held: CalibrationSet


def calibrate(bank: ConceptBank, seen: CalibrationSet, rate: float, confidence: float | None = None) -> Calibrated:
    """A bank whose thresholds at most a share ``rate`` of harmless generations exceeds at any look, in any category.

    The thresholds hold under the schedule that ``seen`` was recorded with, and for images that are exchangeable with
    its own: prompts of the same kind, from the same pipeline. ``confidence`` is ``conformal_threshold``'s.

    Raises:
        InputError: another model's generations, or too few harmless ones for the rate.
    """
    order = torch.randperm(len(seen), generator=torch.Generator().manual_seed(SEED))
    cut = round(FITTED_SHARE * len(seen))
    fitted, held = seen.rows(order[:cut]), seen.rows(order[cut:])
    if fitted.unsafe.all() or held.unsafe.all():
        raise InputError(f"of {len(seen)} generations too few are harmless; calibrate on benign prompts")
    scorings = compare_scorings(bank, fitted)
    if scorings:
        bank = replace(bank, scoring=scorings[0].method, logit_scale=scorings[0].logit_scale)
    levels, thresholds = _thresholds(bank, fitted.rows(~fitted.unsafe), held.rows(~held.unsafe), rate, confidence)
    bank = bank.with_thresholds(levels, thresholds)
    schedule, clean = _probabilities(bank, fitted), _probabilities(bank, fitted.finished())
    figures = figures_on(bank, held, schedule)
    report = CalibrationReport(
        rate, confidence, seen.made_by, len(fitted), scorings, schedule, clean, figures, seen.identity
    )
    return Calibrated(replace(bank, calibration=report), held)


def compare_scorings(bank: ConceptBank, seen: CalibrationSet) -> tuple[ScoringFigure, ...]:
    """Each way of scoring at its fitted temperature, the best one first; nothing where no unsafe image was seen."""
    labels = seen.labels_for(bank)
    if not labels.any() or seen.unsafe.all():
        return ()
    candidates = [_at_fitted_temperature(replace(bank, scoring=method), seen) for method in METHODS]
    figures = [ScoringFigure(c.scoring, c.logit_scale, _auroc(c, seen, labels)) for c in candidates]
    return tuple(sorted(figures, key=lambda figure: -figure.auroc))


def _at_fitted_temperature(bank: ConceptBank, seen: CalibrationSet) -> ConceptBank:
    """The bank with the factor on cosines at which an image's highest score is the log-odds of its being unsafe.

    The least log loss over all looks: temperature scaling (Guo et al. 2017, section 4.2). Policies count in these
    log-odds, so they mean the same under every bank.
    """
    from scipy.optimize import minimize_scalar
    from torch.nn.functional import binary_cross_entropy_with_logits

    unsafe = seen.unsafe[:, None].float().expand(-1, len(seen.noise_levels))

    def at(octaves: float) -> ConceptBank:
        return replace(bank, logit_scale=bank.logit_scale * 2.0**octaves)

    def loss(octaves: float) -> float:
        return float(binary_cross_entropy_with_logits(seen.scores(at(octaves)).amax(dim=2), unsafe))

    return at(float(minimize_scalar(loss, bounds=(-MAX_OCTAVES, MAX_OCTAVES), options={"xatol": 0.01}).x))


def figures_on(bank: ConceptBank, seen: CalibrationSet, probability: Platt | None) -> Figures:
    """What a bank does on generations, see ``Figures``.

    Raises:
        InputError: no harmless generation, or another model's.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    margins, unsafe = seen.margins(bank).numpy(), seen.unsafe.numpy()
    harmless = int((~unsafe).sum())
    if not harmless:
        raise InputError("none of the generations is harmless; use benign prompts")
    over = margins > 0
    exceeding = int((over & ~unsafe).sum())
    counts = harmless, exceeding, *rate_bounds(exceeding, harmless), int(unsafe.sum()), int((over & unsafe).sum())
    if not unsafe.any():
        return Figures(*counts)
    ranked = float(roc_auc_score(unsafe, margins)), float(average_precision_score(unsafe, margins))
    if probability is None:
        return Figures(*counts, *ranked)
    points = reliability(probability.probabilities(margins), unsafe)
    return Figures(*counts, *ranked, expected_calibration_error(points), points)


def _auroc(bank: ConceptBank, seen: CalibrationSet, labels: Tensor) -> float:
    """Of each category's images against the harmless ones, mean over categories and looks."""
    from sklearn.metrics import roc_auc_score

    scores, harmless = seen.scores(bank).numpy(), ~seen.unsafe
    areas = []
    for k in labels.any(0).nonzero().flatten().tolist():
        rows = (labels[:, k] | harmless).numpy()
        truth = labels[:, k].numpy()[rows]
        areas += [roc_auc_score(truth, scores[rows, look, k]) for look in range(scores.shape[1])]
    return float(np.mean(areas))


def _thresholds(
    bank: ConceptBank, fitted: CalibrationSet, held: CalibrationSet, rate: float, confidence: float | None
) -> tuple[Tensor, Tensor]:
    """Rising noise levels (L,) and thresholds (K, L), from harmless generations.

    Scores are log-odds, which categories share; their height differs from look to look. The fitted half says how, (S,).
    Above it, the highest score of an image is one number, and the held half sets its limit. More shape than that,
    a height and a spread for each look and category, found fewer unsafe images at an equal rate (benchmarks/LOG.md).
    """
    height = fitted.scores(bank).amax(dim=2).quantile(UPPER, dim=0)
    highest = (held.scores(bank).amax(dim=2) - height).amax(dim=1)
    limit = conformal_threshold(highest.double().numpy(), rate, confidence)
    return fitted.noise_levels.flip(0), (height + limit).flip(0).expand(len(bank.categories), -1)


def _probabilities(bank: ConceptBank, seen: CalibrationSet) -> Platt | None:
    if not seen.unsafe.any():
        return None
    return Platt.fit(seen.margins(bank).numpy(), seen.unsafe.numpy())
