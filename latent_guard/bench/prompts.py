"""Prompt lists in I2P's CSV schema: I2P itself in either column naming, and the embedded world's lists."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from latent_guard.errors import InputError

# The hub's copy of I2P and the one on GitHub name these columns differently.
_SEED_COLUMNS = ("evaluation_seed", "sd_seed")
_GUIDANCE_COLUMNS = ("evaluation_guidance", "sd_guidance_scale")
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class PromptRow:
    """One prompt with what its list says of it. Columns that a list lacks read as empty.

    ``guidance`` is ``None`` where the list gives none. ``context`` to ``held_out`` are the embedded world's own
    columns: the setting, the objects that the prompt names, the background, the context's companion, and what about
    it was held out of training.
    """

    prompt: str
    seed: int
    categories: tuple[str, ...] = ()
    guidance: float | None = None
    hard: bool = False
    context: str = ""
    objects: tuple[str, ...] = ()
    background: str = ""
    companion: str = ""
    held_out: tuple[str, ...] = ()


def read_prompts(path: str | Path) -> list[PromptRow]:
    """Read a prompt list.

    Needs the columns ``prompt`` and ``evaluation_seed`` (or ``sd_seed``). A prompt may be empty: one of I2P's is.

    Raises:
        InputError: no such file, not a CSV in UTF-8, a column missing, or a bad cell (names line and column).
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            seed_column = _one_of(_SEED_COLUMNS, reader.fieldnames or (), path)
            _one_of(("prompt",), reader.fieldnames or (), path)
            rows = [_row(_Cells(path, reader.line_num, cells), seed_column) for cells in reader]
    except OSError as error:
        raise InputError(f"cannot read the prompt list {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file in UTF-8: {error}") from None
    if not rows:
        raise InputError(f"{path} holds no prompts; it needs at least one row below the header")
    return rows


@dataclass(frozen=True)
class _Cells:
    """One CSV line with what an error message needs."""

    path: Path
    line: int
    cells: Mapping[str, str | None]

    def text(self, column: str) -> str:
        return (self.cells.get(column) or "").strip()

    def words(self, column: str) -> tuple[str, ...]:
        return tuple(word for word in (part.strip() for part in self.text(column).split(",")) if word)

    def read(self, column: str, convert: Callable[[str], float], what: str) -> float:
        try:
            return convert(self.text(column))
        except ValueError:
            raise self.error(column, what) from None

    def error(self, column: str, what: str) -> InputError:
        return InputError(f"{self.path}, line {self.line}, column {column!r}: {self.text(column)!r} is not {what}")


def _row(cells: _Cells, seed_column: str) -> PromptRow:
    return PromptRow(
        prompt=cells.cells["prompt"] or "",
        seed=_seed(cells, seed_column),
        categories=cells.words("categories"),
        guidance=_guidance(cells),
        hard=_hard(cells),
        context=cells.text("context"),
        objects=cells.words("objects"),
        background=cells.text("background"),
        companion=cells.text("companion"),
        held_out=cells.words("held_out"),
    )


def _seed(cells: _Cells, column: str) -> int:
    seed = int(cells.read(column, int, "a whole number from 0 up"))
    if not 0 <= seed <= MAX_SEED:
        raise cells.error(column, f"a seed from 0 to {MAX_SEED}")
    return seed


def _guidance(cells: _Cells) -> float | None:
    column = next((column for column in _GUIDANCE_COLUMNS if cells.text(column)), None)
    if column is None:
        return None
    guidance = cells.read(column, float, "a number")
    if not (math.isfinite(guidance) and guidance >= 0):
        raise cells.error(column, "a guidance scale (0 or more)")
    return guidance


def _hard(cells: _Cells) -> bool:
    flag = cells.text("hard")
    if flag not in ("", "0", "1", "0.0", "1.0"):
        raise cells.error("hard", "0 or 1")
    return flag.startswith("1")


def _one_of(columns: tuple[str, ...], present: Sequence[str], path: Path) -> str:
    for column in columns:
        if column in present:
            return column
    wanted, found = " or ".join(map(repr, columns)), ", ".join(present) or "none"
    raise InputError(f"{path}, line 1: no column {wanted}; found {found}")
