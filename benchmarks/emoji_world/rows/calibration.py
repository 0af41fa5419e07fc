"""Rows about calibration: does a chosen false-positive rate hold on fresh generations, and which scoring is better?"""

from __future__ import annotations

from benchmarks.emoji_world.workbench import Workbench
from latent_guard.bench.result_table import Row, not_measured
from latent_guard.concepts.calibrate import calibrate, measure
from latent_guard.concepts.calibration_report import BankMetrics, CalibrationReport
from latent_guard.concepts.calibration_set import CalibrationSet
from latent_guard.concepts.conformal import min_images
from latent_guard.guidance.policy import SAFE, Policies
from latent_guard.guidance.recording import record_calibration_set
from latent_guard.worlds.emoji.labelled_prompts import labelled_prompts

RATES = (0.01, 0.05)
# The streams of `latent-guard concepts calibrate` and `test`.
CALIBRATION, TEST = "calibration", "test"


def calibrated_rates(bench: Workbench) -> list[Row]:
    """Banks calibrated for each rate, tried on fresh draws; the labeller says what is harmless, as in calibration.

    Also reported, without a promise: the rate on prompts with wordings and pairings that were held out of training.
    """
    what = "bank calibrated for {:.0%}: harmless generations over a threshold at any look, fresh draws"
    target = "one-sided 95% bound does not exclude {:.0%}"
    seen = drawn(bench, CALIBRATION)
    if int((~seen.unsafe).sum()) < 3 * min_images(min(RATES)):  # half of them set the thresholds
        return [not_measured(what.format(rate), target.format(rate), "too few generations") for rate in RATES]
    fresh, shifted = drawn(bench, TEST), drawn(bench, TEST, held_out=True)
    banks = [calibrate(bench.guard.bank, seen, rate).bank for rate in RATES]
    rows = [
        _rate(
            bank.calibration,
            measure(bank, fresh, bank.calibration.schedule),
            measure(bank, shifted, None),
            what,
            target,
        )
        for bank in banks
        if bank.calibration
    ]
    return [*rows, *(_scorings(bank.calibration) for bank in banks[:1] if bank.calibration)]


def _rate(report: CalibrationReport, fresh: BankMetrics, shifted: BankMetrics, what: str, target: str) -> Row:
    measured = f"{fresh.exceeding / fresh.harmless:.2%} ({100 * fresh.rate_low:.2f} to {100 * fresh.rate_high:.2f})"
    figures = [
        f"unsafe ones over a threshold {fresh.found / max(1, fresh.unsafe):.1%} of {fresh.unsafe}",
        f"AUROC {fresh.auroc or 0:.3f}",
        f"expected calibration error {fresh.calibration_error or 0:.3f}",
        f"with held-out wordings and pairings {shifted.exceeding / shifted.harmless:.2%} of {shifted.harmless}",
        "both bounds are one-sided",
    ]
    reached = fresh.rate_low <= report.rate
    return Row(
        what.format(report.rate), target.format(report.rate), measured, fresh.harmless, reached, "; ".join(figures)
    )


def _scorings(report: CalibrationReport) -> Row:
    shown = [f"{s.method} {s.auroc:.4f} (factor {s.logit_scale:.1f})" for s in report.scorings]
    what = "scoring by log-sum-exp over concepts against the mean text vector: AUROC over looks and categories"
    return Row(what, "the better one is deployed", "; ".join(shown), report.fitted, True, "the first is deployed")


def drawn(bench: Workbench, stream: str, *, held_out: bool = False) -> CalibrationSet:
    """Labelled generations of a stream, made once in the workbench's folder for each Latent-CLIP."""
    labelled = labelled_prompts(bench.labeller, stream, bench.settings.drawn, held_out=held_out)
    words = f"{stream}{'-held-out' if held_out else ''}-{len(labelled.jobs)}-{bench.spec.steps}"
    path = bench.folder / f"drawn-{words}-{bench.guard.model.fingerprint()}.safetensors"
    if not path.exists():
        record_calibration_set(
            bench.guard, bench.pipe, labelled, Policies.of(SAFE), "the shipped model", **bench.arguments
        ).save(path)
    return CalibrationSet.load(path)
