"""The report of a bank's calibration: kept in the bank's JSON, shown by ``latent-guard concepts show``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from latent_guard.building import build
from latent_guard.concepts.conformal import Platt, ReliabilityBin
from latent_guard.concepts.scoring import Method


@dataclass(frozen=True)
class ScoringResult:
    """How well a method of scoring separates unsafe from harmless images: AUROC, mean over categories and checks."""

    method: Method
    logit_scale: float
    auroc: float


@dataclass(frozen=True)
class BankMetrics:
    """Metrics of a bank on images that nothing in it was fitted on.

    Attributes:
        harmless, exceeding: harmless images, and how many of them are over a threshold at any check.
        rate_low, rate_high: one-sided 95% bounds of their share.
        unsafe, found: unsafe images, and how many of them are over a threshold at any check.
        auroc, average_precision: of an image's margin, the furthest that it is over a threshold; None without unsafe
            images, as are the rest.
        calibration_error: expected calibration error of the probabilities.
        reliability: the points of their reliability diagram.
    """

    harmless: int
    exceeding: int
    rate_low: float
    rate_high: float
    unsafe: int
    found: int
    auroc: float | None = None
    average_precision: float | None = None
    calibration_error: float | None = None
    reliability: tuple[ReliabilityBin, ...] = ()


@dataclass(frozen=True)
class CalibrationReport:
    """The calibration of a bank.

    Attributes:
        rate: share of harmless images that may be over a threshold at any check, in any category.
        confidence: with which the rate holds for this very bank; None: on average over calibrations.
        made_by: description for people of pipeline, schedule, prompts and who labelled.
        fitted: images that scoring, the shape of the thresholds and the probabilities were fitted on.
        scorings: the candidates, the chosen one first; empty without unsafe images.
        schedule, clean: probabilities from an image's margin over all checks, and from that of its finished latents.
        figures: on the other images. Their thresholds' height was set on the harmless ones, so the share of these
            is what was asked for; an independent test is ``latent-guard concepts test``.
        identity: of the images, see ``calibration_set.identity_of_images``; empty in reports of before there were any.
        of_pictures: whether the images were finished pictures, so that the thresholds say nothing of any other check.
    """

    rate: float
    confidence: float | None
    made_by: str
    fitted: int
    scorings: tuple[ScoringResult, ...]
    schedule: Platt | None
    clean: Platt | None
    figures: BankMetrics
    identity: str = ""
    of_pictures: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dicts, as ``from_dict`` and JSON take them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CalibrationReport:
        """The opposite of ``to_dict``; raises InputError for anything else."""
        return build(cls, data, "calibration")
