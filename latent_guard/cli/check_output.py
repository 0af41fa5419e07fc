"""The output of ``check``: a table, JSON lines or CSV."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.files.csv_text import csv_lines, name_cell
from latent_guard.guidance.moderation import Finding
from latent_guard.terminal import Table

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank

FORMATS = (".jsonl", ".csv")
_COLUMNS = tuple(field.name for field in fields(Finding) if field.name != "scores")


def lines_of(findings: Iterable[Finding], suffix: str, made_by: str) -> str:
    """Findings as text, one line each, for a ``.jsonl`` or ``.csv`` file; ``made_by`` stands in every line."""
    rows = [{**asdict(finding), "file": written(finding.file, suffix), "made_by": made_by} for finding in findings]
    if suffix == ".jsonl":
        return "".join(json.dumps(_plain(row)) + "\n" for row in rows)
    return csv_lines([row[name] for name in (*_COLUMNS, "made_by")] for row in rows)


def written(name: str, suffix: str) -> str:
    """A file's name as a line holds it: unchanged in JSON, escaped in CSV where a spreadsheet would run it."""
    return name_cell(name) if suffix == ".csv" else name


def header(suffix: str) -> str:
    """The first line of a file of this kind."""
    return "" if suffix == ".jsonl" else ",".join((*_COLUMNS, "made_by")) + "\n"


def table_of(findings: Iterable[Finding]) -> Table:
    """The table of findings, one row each."""
    table = Table("file", "decision", "category", "nearest concept", "score", "threshold", "probability")
    for f in findings:
        name = f.file if f.row == 0 else f"{f.file} [{f.row}]"
        numbers = ("" if n is None else f"{n:.2f}" for n in (f.score, f.threshold, f.probability))
        table.add(name, f.decision, f.category or "", f.concept or f.error or "", *numbers)
    return table


def what_made(bank: ConceptBank, model: str | None, scaled: bool) -> str:
    """Digest (sixteen hexadecimal digits) of all that findings depend on.

    That is Latent-CLIP, concepts, scoring and thresholds; the pipeline whose VAE reads pictures, by its name, since
    the VAE is not loaded for latents alone; and whether latents are read as a pipeline's own.
    """
    pipeline = model if model is None or not Path(model).is_dir() else str(Path(model).resolve())
    content = {"bank": bank.digest, "pipeline": pipeline, "pipeline_latents": scaled}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Replace numbers that are not finite by strings, as ``Verdict.to_json`` does."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
