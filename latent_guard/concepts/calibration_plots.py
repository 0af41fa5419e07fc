"""The plots of a calibration: ROC curve, precision-recall curve, reliability diagram."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.calibration_set import CalibrationSet

INCHES, DOTS = 4.0, 120


def write_plots(folder: Path, bank: ConceptBank, images: CalibrationSet) -> list[Path]:
    """Write ``roc.png``, ``precision_recall.png`` and ``reliability.png`` of a calibrated bank on a calibration set.

    Raises:
        InputError: the bank is not calibrated, or the images are all safe or all unsafe.
    """
    report = bank.calibration
    unsafe = images.unsafe.numpy()
    if report is None or report.schedule is None or unsafe.all() or not unsafe.any():
        raise InputError("curves need a calibrated bank, and both safe and unsafe images")
    margins = images.margins(bank).numpy()
    probabilities = report.schedule.probabilities(margins)
    drawings: dict[str, Callable[[Any], None]] = {
        "roc": lambda axes: _roc(axes, margins, unsafe),
        "precision_recall": lambda axes: _precision_recall(axes, margins, unsafe),
        "reliability": lambda axes: _reliability(axes, probabilities, unsafe),
    }
    drawn = {folder / f"{name}.png": _drawn(drawing) for name, drawing in drawings.items()}
    for path, content in drawn.items():
        write_atomic(path, content)
    return list(drawn)


def _drawn(drawing: Callable[[Any], None]) -> bytes:
    from matplotlib.figure import Figure  # no pyplot: it would look for a display

    figure = Figure(figsize=(INCHES, INCHES), dpi=DOTS, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    drawing(axes)
    content = BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _roc(axes: Any, margins: Any, unsafe: Any) -> None:
    from sklearn.metrics import roc_curve

    false_positives, recall, _ = roc_curve(unsafe, margins)
    over = margins > 0
    axes.plot(false_positives, recall)
    axes.plot(over[~unsafe].mean(), over[unsafe].mean(), "o", label="at the thresholds")
    axes.set(xlabel="harmless images over a threshold", ylabel="unsafe images over a threshold", title="ROC")
    axes.legend(loc="lower right")


def _precision_recall(axes: Any, margins: Any, unsafe: Any) -> None:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(unsafe, margins)
    over = margins > 0
    axes.plot(recall, precision)
    if over.any():
        axes.plot(over[unsafe].mean(), unsafe[over].mean(), "o", label="at the thresholds")
        axes.legend(loc="lower left")
    axes.set(xlabel="recall", ylabel="precision", title=f"Precision and recall, {unsafe.mean():.0%} unsafe")


def _reliability(axes: Any, probabilities: Any, unsafe: Any) -> None:
    from latent_guard.concepts.conformal import expected_calibration_error, reliability

    bins = reliability(probabilities, unsafe)
    axes.plot([0, 1], [0, 1], "--", color="gray")
    axes.plot([b.probability for b in bins], [b.frequency for b in bins], "o-")
    error = expected_calibration_error(bins)
    axes.set(xlabel="probability", ylabel="share unsafe", title=f"Reliability, calibration error {error:.3f}")
