"""``latent-guard concepts calibrate`` and ``test``: set a bank's thresholds and probabilities, and measure them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.bounds import MAX_IMAGES, MAX_STEPS
from latent_guard.cli.calibration_images import CALIBRATION, TEST
from latent_guard.cli.places import OutFile, OutFolder, require_folder
from latent_guard.errors import InputError
from latent_guard.terminal import note, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latent_guard.concepts.calibration_report import BankMetrics, CalibrationReport
    from latent_guard.concepts.calibration_set import CalibrationSet

_Bank = Annotated[Path, typer.Argument(help="Concept bank folder.")]
_Model = Annotated[str | None, typer.Option(help="Diffusers folder or hub id; by default the shipped one.")]
_Guard = Annotated[
    str | None, typer.Option(help="Guard folder or hub id; by default beside the model, or fitted to it.")
]
_Benign = Annotated[Path | None, typer.Option(help="CSV of benign prompts; by default the shipped world's.")]
_Unsafe = Annotated[Path | None, typer.Option(help="CSV of unsafe prompts with their categories, beside --benign.")]
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
    record: _Record = None,
    out: _Out = None,
    plots: _Plots = None,
) -> None:
    """Set scoring, thresholds and probabilities of a bank from unguarded images."""
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.calibrate import calibrate as run

    if out is None:
        require_folder(bank, "BANK")
    sources = _Sources(bank, images, steps, policy, model, guard, benign, unsafe, record)
    if plots is not None and not sources.recorded and benign is not None and unsafe is None:
        raise InputError("--plots needs unsafe images too; give their prompts with --unsafe FILE.csv")
    seen = _seen(context, CALIBRATION, sources)
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
    record: _Record = None,
) -> None:
    """Measure a bank on images that it was not calibrated on: the shipped world's test prompts, or your own."""
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.calibrate import measure as measure_bank

    loaded = ConceptBank.load(bank)
    seen = _seen(context, TEST, _Sources(bank, images, steps, policy, model, guard, benign, unsafe, record))
    report = loaded.calibration
    if report is not None and seen.calibrated(report):
        raise InputError(f"{record} holds the images that {bank} was calibrated on; record others to test it on")
    figures = measure_bank(loaded, seen, report.schedule if report else None)
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
    return [f"at most {report.rate:.1%} of harmless images, {promise}", report.made_by, *chosen, *held]


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


@dataclass(frozen=True)
class _Sources:
    """The options that say what is generated, and with which models."""

    bank: Path
    images: int
    steps: int
    policy: str | None
    model: str | None
    guard: str | None
    benign: Path | None
    unsafe: Path | None
    record: Path | None

    @property
    def recorded(self) -> bool:
        """Whether the images were recorded before."""
        return self.record is not None and self.record.exists()


def _seen(context: typer.Context, stream: str, sources: _Sources) -> CalibrationSet:
    """The recorded calibration set, or a new one from the sources."""
    from latent_guard.concepts.calibration_set import CalibrationSet

    record = sources.record
    if record is not None and sources.recorded:
        if ignored := _given(context, ("images", "steps", "policy", "model", "guard", "benign", "unsafe")):
            note(f"{record} is there and used as it is: {', '.join(ignored)} not looked at")
        return CalibrationSet.load(record)
    seen = _generated(stream, sources)
    if record is not None:
        seen.save(record)
    return seen


def _generated(stream: str, sources: _Sources) -> CalibrationSet:
    from latent_guard.cli.calibration_images import (
        Schedule,
        generate_calibration_set,
        labelled_prompts_of_files,
        labelled_prompts_of_shipped_world,
    )
    from latent_guard.loading import load_guard

    model, benign, unsafe, images = sources.model, sources.benign, sources.unsafe, sources.images
    if benign is None and (model is not None or unsafe is not None):
        raise InputError(
            "a model or unsafe prompts of your own need benign prompts too; give them with --benign FILE.csv"
        )
    if benign is None:
        labelled = labelled_prompts_of_shipped_world(stream, images)
    else:
        labelled = labelled_prompts_of_files(stream, benign, unsafe, images)
    guard = load_guard(model, sources.guard, sources.bank, sources.policy)
    return generate_calibration_set(model, guard, labelled, Schedule(sources.steps, guard.policies))


def _given(context: typer.Context, names: Sequence[str]) -> list[str]:
    """The options that were given on the command line."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return [f"--{name}" for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
