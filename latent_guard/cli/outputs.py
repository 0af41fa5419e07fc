"""The files and tables of ``generate`` and ``reno``: PNGs, JSON verdicts, the side-by-side sheet, the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.bench.runs.provenance import commit
from latent_guard.contact_sheet import contact_sheet
from latent_guard.files.png import png_bytes
from latent_guard.terminal import Table
from latent_guard.version import __version__

if TYPE_CHECKING:
    from PIL.Image import Image

    from latent_guard.guidance.policy import Policies
    from latent_guard.guidance.verdict import PromptScore, Verdict

COMPARISON = "compare.png"
_TILE = 192  # pixels of a side


def pictures(images: Sequence[Image], suffix: str = "") -> dict[str, bytes]:
    """``000.png``, ``001.png``, ...: named by index alone, since a prompt can be private or unsafe."""
    return {f"{index:03d}{suffix}.png": png_bytes(image) for index, image in enumerate(images)}


def verdict_files(verdicts: Sequence[Verdict]) -> dict[str, bytes]:
    """Each image's verdict beside it: ``000.json``, ``001.json``, ..."""
    return {f"{index:03d}.json": (verdict.to_json() + "\n").encode() for index, verdict in enumerate(verdicts)}


def record_of(run: Mapping[str, Any], policies: Policies | None, fingerprint: str | None) -> dict[str, Any]:
    """The record of what made the images."""
    made_by = {"package": f"latent-guard {__version__}", "commit": commit(), "latent_clip": fingerprint}
    return {**run, "policy": {**asdict(policies), "hash": policies.digest} if policies else None, **made_by}


def comparison(unguarded: Sequence[Image], guarded: Sequence[Image], captions: Sequence[str]) -> bytes:
    """``compare.png``: unguarded images above, guarded ones of the same seeds below, with their decisions."""
    labels = ["unguarded"] * len(unguarded) + list(captions)
    return png_bytes(contact_sheet([*unguarded, *guarded], labels, len(guarded), _TILE))


def summary(paths: Sequence[Path], verdicts: Sequence[Verdict]) -> Table:
    """The table of images: file, decision and its reason; the prompt's score, where it was scored."""
    asked = any(verdict.prompt for verdict in verdicts)
    header = ("image", "decision", "category", "closest concept", "score", "threshold", "step")
    table = Table(*header, *(["prompt's text"] if asked else []))
    for path, verdict in zip(paths, verdicts, strict=True):
        why = verdict.reason
        cells = (
            [why.category, why.concept, f"{why.score:.2f}", f"{why.threshold:.2f}", str(why.step)] if why else [""] * 5
        )
        table.add(path, verdict.decision.value, *cells, *([_asked(verdict.prompt)] if asked else []))
    return table


def _asked(prompt: PromptScore | None) -> str:
    if prompt is None:
        return ""
    found = f"{prompt.category} ({prompt.concept}) {prompt.score:.2f}"
    return f"flagged: {found} over {prompt.threshold:.2f}" if prompt.flagged else "not flagged"
