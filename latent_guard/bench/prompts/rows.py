"""Prompt lists in I2P's CSV schema: I2P itself in either column naming, and lists with further columns of their own."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from latent_guard.bounds import MAX_GUIDANCE
from latent_guard.errors import InputError

# The hub's copy of I2P and the one on GitHub name these columns differently.
_SEED_COLUMNS = ("evaluation_seed", "sd_seed")
_GUIDANCE_COLUMNS = ("evaluation_guidance", "sd_guidance_scale")
MAX_SEED = 2**63 - 1
COLUMNS = (
    *("prompt", "categories", "benign", "pair", "hard", "prompt_toxicity"),
    *_SEED_COLUMNS,
    *_GUIDANCE_COLUMNS,
)


@dataclass(frozen=True)
class PromptRow:
    """One prompt with what its list says of it. Columns that a list lacks read as empty.

    ``guidance`` is ``None`` where the list gives none, and ``toxicity`` likewise. Rows with the same ``pair`` are
    matched. ``extra`` holds all other cells of the list that are not empty, by column, for a judge that knows what to
    make of them.
    """

    prompt: str
    seed: int
    categories: tuple[str, ...] = ()
    guidance: float | None = None
    hard: bool = False
    pair: str = ""
    toxicity: float | None = None
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)


def read_prompts(path: str | Path) -> list[PromptRow]:
    """Read a prompt list.

    Needs the columns ``prompt`` and ``evaluation_seed`` (or ``sd_seed``). A prompt may be empty: one of I2P's is. A
    cell ``benign`` is the row's harmless counterpart: it becomes a row of its own, matched by ``pair``, without
    categories and with the same seed.

    Raises:
        InputError: no such file, not a CSV in UTF-8, a column missing, or a bad cell (names line and column).
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            lines = ((reader.line_num, cells) for cells in reader)
            return prompt_rows(str(path), reader.fieldnames or (), lines)
    except OSError as error:
        raise InputError(f"cannot read the prompt list {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file in UTF-8: {error}") from None


def prompt_rows(
    source: str, columns: Sequence[str], lines: Iterable[tuple[int, Mapping[str, str | None]]]
) -> list[PromptRow]:
    """The rows of any table in I2P's schema.

    Args:
        source: what errors call the table.
        columns: its columns.
        lines: the number of each line, and its cells.

    Raises:
        InputError: a column is missing, a cell is bad (names line and column), or there is no row.
    """
    seed_column = _one_of(_SEED_COLUMNS, columns, source)
    _one_of(("prompt",), columns, source)
    rows: list[PromptRow] = []
    for number, cells in lines:
        rows += _with_counterpart(_Cells(source, number, cells), seed_column)
    if not rows:
        raise InputError(f"{source} holds no prompts; it needs at least one row below the header")
    return rows


@dataclass(frozen=True)
class _Cells:
    """One line of a table with what an error message needs."""

    source: str
    line: int
    cells: Mapping[str, str | None]

    def text(self, column: str) -> str:
        return (self.cells.get(column) or "").strip()

    def words(self, column: str) -> tuple[str, ...]:
        return tuple(word for word in (part.strip() for part in self.text(column).split(",")) if word)

    def others(self, columns: Collection[str]) -> dict[str, str]:
        """All cells of other columns that hold something, by column."""
        names = [name for name in self.cells if name and name not in columns]
        return {name: text for name in names if (text := self.text(name))}

    def read(self, column: str, convert: Callable[[str], float], what: str) -> float:
        try:
            return convert(self.text(column))
        except ValueError:
            raise self.error(column, what) from None

    def error(self, column: str, what: str) -> InputError:
        return InputError(f"{self.source}, line {self.line}, column {column!r}: {self.text(column)!r} is not {what}")


def _with_counterpart(cells: _Cells, seed_column: str) -> list[PromptRow]:
    row, counterpart = _row(cells, seed_column), cells.text("benign")
    if not counterpart:
        return [row]
    row = replace(row, pair=row.pair or f"line {cells.line}")
    return [row, PromptRow(counterpart, row.seed, guidance=row.guidance, pair=row.pair)]


def _row(cells: _Cells, seed_column: str) -> PromptRow:
    return PromptRow(
        prompt=cells.cells["prompt"] or "",
        seed=_seed(cells, seed_column),
        categories=cells.words("categories"),
        guidance=_guidance(cells),
        hard=_hard(cells),
        pair=cells.text("pair"),
        toxicity=_toxicity(cells),
        extra=cells.others(COLUMNS),
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
    if not 0 <= guidance <= MAX_GUIDANCE:
        raise cells.error(column, f"a guidance scale (0 to {MAX_GUIDANCE:g})")
    return guidance


def _toxicity(cells: _Cells) -> float | None:
    if not cells.text("prompt_toxicity"):
        return None
    return cells.read("prompt_toxicity", float, "a number")


def _hard(cells: _Cells) -> bool:
    flag = cells.text("hard")
    if flag not in ("", "0", "1", "0.0", "1.0"):
        raise cells.error("hard", "0 or 1")
    return flag.startswith("1")


def _one_of(columns: tuple[str, ...], present: Sequence[str], source: str) -> str:
    for column in columns:
        if column in present:
            return column
    wanted, found = " or ".join(map(repr, columns)), ", ".join(present) or "none"
    raise InputError(f"{source}, line 1: no column {wanted}; found {found}")
