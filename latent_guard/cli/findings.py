"""What ``check`` reports: a table, JSON lines or CSV; in a file to which an interrupted run adds."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.csv_text import csv_lines, name_cell, name_of_cell
from latent_guard.documents import json_value, read_lines
from latent_guard.errors import InputError
from latent_guard.guidance.moderation import UNREADABLE, Finding
from latent_guard.terminal import Table
from latent_guard.whole_files import write_whole, writing

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank

FORMATS = (".jsonl", ".csv")
_TOLD = ("file", "decision", "made_by")  # what is read of a line
_COLUMNS = tuple(field.name for field in fields(Finding) if field.name != "scores")


def lines_of(findings: Iterable[Finding], suffix: str, made_by: str) -> str:
    """Findings as text, one line each, for a ``.jsonl`` or ``.csv`` file; ``made_by`` stands in every line."""
    if suffix == ".jsonl":
        return "".join(json.dumps(_plain({**asdict(f), "made_by": made_by})) + "\n" for f in findings)
    cells = ({**vars(finding), "file": name_cell(finding.file), "made_by": made_by} for finding in findings)
    return csv_lines([row[name] for name in (*_COLUMNS, "made_by")] for row in cells)


def header(suffix: str) -> str:
    """The first line of a file of this kind."""
    return "" if suffix == ".jsonl" else ",".join((*_COLUMNS, "made_by")) + "\n"


def table_of(findings: Iterable[Finding]) -> Table:
    """One row a finding."""
    table = Table("file", "decision", "category", "nearest concept", "score", "threshold", "probability")
    for f in findings:
        name = f.file if f.row == 0 else f"{f.file} [{f.row}]"
        numbers = ("" if n is None else f"{n:.2f}" for n in (f.score, f.threshold, f.probability))
        table.add(name, f.decision, f.category or "", f.concept or f.error or "", *numbers)
    return table


def what_made(bank: ConceptBank, model: str | None, scaled: bool) -> str:
    """Sixteen hexadecimal digits of all that findings depend on.

    That is Latent-CLIP, concepts, scoring and thresholds; the pipeline whose VAE reads pictures, by its name, since
    the VAE is not loaded for latents alone; and whether latents are read as a pipeline's own.
    """
    pipeline = model if model is None or not Path(model).is_dir() else str(Path(model).resolve())
    words = (bank.fingerprint, bank.scoring, bank.logit_scale, [asdict(c) for c in bank.concepts], bank.benign_prompts)
    digest = hashlib.sha256(json.dumps((words, pipeline, scaled)).encode())
    for tensor in (bank.embeddings, bank.benign, bank.noise_levels, bank.thresholds):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class FindingsFile:
    """A ``.jsonl`` or ``.csv`` file that grows; ``done`` names the files that it holds findings of.

    The last file of an interrupted run may have rows missing, and one that could not be read may be mended: if they
    are among the files that are ``asked`` for, their findings are taken out, and they are checked again.
    """

    def __init__(self, path: Path, made_by: str, asked: Collection[str]) -> None:
        """Raises InputError for another suffix, a file of something else, or one of another bank or other settings."""
        if path.suffix not in FORMATS:
            raise InputError(f"--out {path} must end in {' or '.join(FORMATS)}")
        self.path, self.made_by = path, made_by
        whole = self._whole_lines()
        try:
            rows = _parsed(whole, path.suffix)
            if other := next((row["made_by"] for row in rows if row["made_by"] != made_by), None):
                raise InputError(
                    f"{path} was made by another guard or bank, or with another --model or --pipeline-latents "
                    f"({other}); choose another --out"
                )
            again = {row["file"] for n, row in enumerate(rows, 1) if row["decision"] == UNREADABLE or n == len(rows)}
            again &= set(asked)
            body = whole[len(whole) - len(rows) :]  # without the header
            kept = [line for line, row in zip(body, rows, strict=True) if row["file"] not in again]
            self.done = {str(row["file"]) for row in rows} - again
        except (ValueError, csv.Error) as error:
            raise InputError(f"{path} holds something else; choose another --out") from error
        self._rewrite(header(path.suffix) + "".join(kept))

    def add(self, findings: Sequence[Finding]) -> None:
        """Append findings at once."""
        with writing(self.path), open(self.path, "a", encoding="utf-8", newline="") as file:
            file.write(lines_of(findings, self.path.suffix, self.made_by))

    def decisions(self) -> list[tuple[str, str]]:
        """File and decision of all findings, those of earlier runs too."""
        return [(str(row["file"]), str(row["decision"])) for row in _parsed(self._whole_lines(), self.path.suffix)]

    def _whole_lines(self) -> list[str]:
        if not self.path.exists():
            return []
        try:
            lines = [line.decode() for line in read_lines(self.path, "the findings in")]
        except (InputError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {self.path}; choose another --out ({error})") from error
        whole = [line for line in lines if line.endswith("\n")]
        begun = header(self.path.suffix) or '{"file"'
        if not whole and lines and not lines[0].startswith(begun[: len(lines[0])]):  # else an interrupted run's first
            raise InputError(f"{self.path} holds something else; choose another --out")
        return whole

    def _rewrite(self, text: str) -> None:
        write_whole(self.path, text.encode())


def _parsed(lines: list[str], suffix: str) -> list[dict[str, Any]]:
    """The rows; raises ValueError for a line that is none."""
    if suffix == ".jsonl":
        try:
            rows = [json_value(line, "a line", any_text=True) for line in lines]
        except InputError as error:
            raise ValueError(error) from error
    elif lines and lines[0] != header(suffix):
        raise ValueError("not our columns")
    else:
        rows = list(csv.DictReader(lines))
    for row in rows:
        if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in _TOLD):
            raise ValueError("not a finding")
    return rows if suffix == ".jsonl" else [{**row, "file": name_of_cell(row["file"])} for row in rows]


def _plain(value: Any) -> Any:
    """Numbers that are not finite become strings, as in ``Verdict.to_json``."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
