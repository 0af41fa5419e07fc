"""``latent-guard concepts calibrate`` and ``test``: set a bank's thresholds and probabilities, and measure them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.bounds import MAX_IMAGES, MAX_STEPS
from latent_guard.cli.calibration_images import CALIBRATION, TEST
from latent_guard.cli.calibration_sources import Sources
from latent_guard.cli.places import OutFile, OutFolder, require_folder
from latent_guard.errors import InputError
from latent_guard.terminal import say

if TYPE_CHECKING:
    from latent_guard.concepts.calibration_report import BankMetrics, CalibrationReport

_Bank = Annotated[Path, typer.Argument(help="Concept bank folder.")]
_Model = Annotated[str | None, typer.Option(help="Pipeline, or for pictures its VAE; by default the shipped one.")]
_Guard = Annotated[
    str | None, typer.Option(help="Guard folder or hub id; by default beside the model, or fitted to it.")
]
_Benign = Annotated[Path | None, typer.Option(help="CSV of benign prompts; by default the shipped world's.")]
_Unsafe = Annotated[Path | None, typer.Option(help="CSV of unsafe prompts with their categories, beside --benign.")]
_BenignImages = Annotated[
    Path | None, typer.Option(help="Folder of harmless pictures or raw latents: used instead of generated images.")
]
_UnsafeImages = Annotated[
    list[str] | None, typer.Option(help="CATEGORY=FOLDER of pictures that show it, beside --benign-images.")
]
_Steps = Annotated[int, typer.Option(min=1, max=MAX_STEPS, help="Denoising steps.")]
_Policy = Annotated[
    str | None,
    typer.Option(help="Policy whose check schedule is deployed: a name or a YAML file; by default the guard's own."),
]
_Record = Annotated[
    Path | None,
    typer.Option(
        help="Keep the recorded features in this .safetensors file; if it exists, generate nothing.",
        parser=OutFile("--record", (".safetensors",), read_if_there=True),
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option(help="Folder for the calibrated bank; by default the bank itself.", parser=OutFolder("--out")),
]
_Plots = Annotated[
    Path | None,
    typer.Option(help="Folder for ROC, precision-recall and reliability plots.", parser=OutFolder("--plots")),
]


def calibrate(
    context: typer.Context,
    bank: _Bank,
    rate: Annotated[
        float, typer.Option(min=1e-6, max=0.99, help="Share of harmless images that may be over a threshold.")
    ] = 0.01,
    confidence: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Hold the rate with this confidence for this bank, not on average."),
    ] = None,
    images: Annotated[
        int, typer.Option(min=1, max=MAX_IMAGES, help="Benign images; half of them set the thresholds.")
    ] = 2000,
    steps: _Steps = 20,
    policy: _Policy = None,
    model: _Model = None,
    guard: _Guard = None,
    benign: _Benign = None,
    unsafe: _Unsafe = None,
    benign_images: _BenignImages = None,
    unsafe_images: _UnsafeImages = None,
    record: _Record = None,
    out: _Out = None,
    plots: _Plots = None,
) -> None:
    """Set scoring, thresholds and probabilities of a bank from unguarded images, or from existing pictures."""
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.calibrate import calibrate as run

    if out is None:
        require_folder(bank, "BANK")
    sources = Sources(
        context, bank, images, steps, policy, model, guard, benign, unsafe, benign_images, unsafe_images or [], record
    )
    if plots is not None and sources.only_benign:
        raise InputError("--plots needs unsafe images too; give them with --unsafe-images, or prompts with --unsafe")
    seen = sources.seen(CALIBRATION)
    done = run(ConceptBank.load(bank), seen, rate, confidence)
    report = done.bank.calibration
    assert report is not None
    for line in lines_about(report):
        say(line)
    if plots is not None:  # before the bank is saved: they can be refused
        from latent_guard.concepts.calibration_plots import write_plots

        for path in write_plots(plots, done.bank, done.held_out):
            say(f"wrote {path}")
    done.bank.save(out or bank)
    say(f"wrote {out or bank}")


def measure(
    context: typer.Context,
    bank: _Bank,
    images: Annotated[int, typer.Option(min=1, max=MAX_IMAGES, help="Benign images.")] = 2000,
    steps: _Steps = 20,
    policy: _Policy = None,
    model: _Model = None,
    guard: _Guard = None,
    benign: _Benign = None,
    unsafe: _Unsafe = None,
    benign_images: _BenignImages = None,
    unsafe_images: _UnsafeImages = None,
    record: _Record = None,
) -> None:
    """Measure a bank on images that it was not calibrated on: the shipped world's test prompts, or your own."""
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.calibrate import measure as measure_bank

    loaded = ConceptBank.load(bank)
    sources = Sources(
        context, bank, images, steps, policy, model, guard, benign, unsafe, benign_images, unsafe_images or [], record
    )
    if sources.generates:
        loaded.require_known_at_steps()
    seen = sources.seen(TEST)
    report = loaded.calibration
    if report is not None and seen.calibrated(report):
        where = record or benign_images
        raise InputError(f"{where} holds the images that {bank} was calibrated on; give others to test it on")
    if not seen.of_pictures:  # a record of generations
        loaded.require_known_at_steps()
    probability = None if report is None else report.clean if seen.of_pictures else report.schedule
    figures = measure_bank(loaded, seen, probability)
    say(seen.made_by)
    for line in _figures(figures):
        say(line)
    if report is not None:
        outcome = "exclude" if figures.rate_low > report.rate else "do not exclude"
        say(f"these images {outcome} the chosen rate of {report.rate:.1%}")


def lines_about(report: CalibrationReport) -> list[str]:
    """The lines of a calibration report."""
    promise = "on average" if report.confidence is None else f"with {report.confidence:.0%} confidence"
    scorings = [f"scoring {s.method} at {s.logit_scale:.1f}: AUROC {s.auroc:.3f}" for s in report.scorings]
    chosen = [f"{scorings[0]} (chosen)", *scorings[1:]] if scorings else ["scoring: no unsafe images to compare on"]
    held = ["on the images kept out of the fit:", *(f"  {line}" for line in _figures(report.figures))]
    only = ["its thresholds hold for finished pictures and latents alone"] if report.of_pictures else []
    return [f"at most {report.rate:.1%} of harmless images, {promise}", report.made_by, *only, *chosen, *held]


def _figures(figures: BankMetrics) -> list[str]:
    share = figures.exceeding / figures.harmless
    low, high = figures.rate_low, figures.rate_high
    lines = [
        f"harmless: {figures.exceeding} of {figures.harmless} over a threshold, {share:.2%}; "
        f"one-sided 95% bounds {low:.2%} and {high:.2%}"
    ]
    if figures.unsafe:
        lines.append(
            f"unsafe: {figures.found} of {figures.unsafe} over a threshold, {figures.found / figures.unsafe:.1%}"
        )
        lines.append(f"AUROC {figures.auroc:.3f}, average precision {figures.average_precision:.3f}")
    if figures.calibration_error is not None:
        lines.append(f"expected calibration error {figures.calibration_error:.3f}")
    return lines
