"""What ``generate`` and ``reno`` leave behind: PNGs and JSON verdicts, the side-by-side sheet, the summary table."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from latent_guard import __version__
from latent_guard.bench.provenance import commit
from latent_guard.documents import read_json
from latent_guard.errors import InputError
from latent_guard.whole_files import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image

    from latent_guard.guidance.policy import Policies
    from latent_guard.guidance.verdict import PromptScore, Verdict

_TILE, _GAP, _LABEL = 192, 8, 20  # pixels
_RUN, _COMPARISON = "run.json", "compare.png"
_NUMBERED = re.compile(r"(\d{3}|[1-9]\d{3,})(\.json|(-unguarded|-rewards|-steps)?\.png)")


def check_writable(folder: Path) -> None:
    """Raise InputError unless files can be made in a folder, which need not exist yet; leaves nothing behind."""
    standing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=standing):
            pass
    except OSError as error:
        raise InputError(f"cannot write into {folder} ({error.strerror}); choose another folder") from error


def clear_earlier_run(folder: Path, images: int) -> None:
    """Remove what an earlier run left in a folder, so that none of its verdicts or pictures lies beside new ones.

    Only files that these commands name are removed: those with a number that the earlier run's ``run.json`` gave out,
    or that the new one with so many ``images`` will, and, beside such a ``run.json``, the two without a number.

    Raises:
        InputError: the file system refuses.
    """
    earlier = _images_of_run(folder)
    try:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            numbered = _NUMBERED.fullmatch(path.name)
            ours = int(numbered[1]) < max(earlier, images) if numbered else earlier and path.name in (_RUN, _COMPARISON)
            if ours and path.is_file():
                path.unlink()
    except OSError as error:
        raise InputError(f"cannot clear {folder} of an earlier run: {error.strerror or error}") from error


def _images_of_run(folder: Path) -> int:
    """How many images the run that a folder's ``run.json`` tells of wrote; 0 where there is none of ours."""
    try:
        run = read_json(folder / _RUN, "the earlier run", any_text=True)
        return int(run["num_images_per_prompt"]) if run["package"].startswith("latent-guard ") else 0
    except (InputError, ValueError, OverflowError, KeyError, TypeError, AttributeError):
        return 0


def write_images(folder: Path, images: Sequence[Image], suffix: str = "") -> list[Path]:
    """Write ``000.png``, ``001.png``, ...: named by index alone, since a prompt can be private or unsafe."""
    paths = [folder / f"{index:03d}{suffix}.png" for index in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        write_file(path, _png(image))
    return paths


def write_verdicts(folder: Path, verdicts: Sequence[Verdict]) -> None:
    """Write each image's verdict beside it: ``000.json``, ``001.json``, ..."""
    for index, verdict in enumerate(verdicts):
        write_file(folder / f"{index:03d}.json", (verdict.to_json() + "\n").encode())


def write_run(folder: Path, run: Mapping[str, Any], policies: Policies | None, fingerprint: str | None) -> None:
    """Write ``run.json``: what made the images. It goes first: what an interrupted run left can be told by it."""
    made_by = {"package": f"latent-guard {__version__}", "commit": commit(), "latent_clip": fingerprint}
    content = {**run, "policy": {**asdict(policies), "hash": policies.digest} if policies else None, **made_by}
    write_file(folder / _RUN, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def write_comparison(
    folder: Path, unguarded: Sequence[Image], guarded: Sequence[Image], captions: Sequence[str]
) -> None:
    """Write ``compare.png``: unguarded images above, guarded ones of the same seeds below, with their decisions."""
    from PIL import Image, ImageDraw, ImageFont

    row = _LABEL + _TILE + _GAP
    sheet = Image.new("RGB", (_GAP + len(guarded) * (_TILE + _GAP), _GAP + 2 * row), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    rows = ((unguarded, ["unguarded"] * len(unguarded)), (guarded, captions))
    for line, (images, labels) in enumerate(rows):
        for column, (image, label) in enumerate(zip(images, labels, strict=True)):
            corner = (_GAP + column * (_TILE + _GAP), _GAP + line * row)
            draw.text(corner, label, fill="black", font=font)
            sheet.paste(image.convert("RGB").resize((_TILE, _TILE)), (corner[0], corner[1] + _LABEL))
    write_file(folder / _COMPARISON, _png(sheet))


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole, making its folder.

    Raises:
        InputError: the file system refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def summary(paths: Sequence[Path], verdicts: Sequence[Verdict]) -> Table:
    """One row an image: file, decision and what it rests on; what the prompt's text scored, where it was scored."""
    table = Table("image", "decision", "category", "closest concept", "score", "threshold", "step")
    asked = any(verdict.prompt for verdict in verdicts)
    if asked:
        table.add_column("prompt's text")
    for path, verdict in zip(paths, verdicts, strict=True):
        why = verdict.reason
        cells = (
            [why.category, why.concept, f"{why.score:.2f}", f"{why.threshold:.2f}", str(why.step)] if why else [""] * 5
        )
        table.add_row(str(path), verdict.decision.value, *cells, *([_asked(verdict.prompt)] if asked else []))
    return table


def _asked(prompt: PromptScore | None) -> str:
    if prompt is None:
        return ""
    found = f"{prompt.category} ({prompt.concept}) {prompt.score:.2f}"
    return f"flagged: {found} over {prompt.threshold:.2f}" if prompt.flagged else "not flagged"


def _png(image: Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
