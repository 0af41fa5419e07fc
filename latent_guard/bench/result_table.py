"""The table of a benchmark: its rows as data, stored as they are measured, and as Markdown."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import json_value, read_json

logger = logging.getLogger(__name__)
VERDICTS = {True: "reached", False: "not reached", None: "not measured"}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ``measured`` holds the figure with its interval; ``reached`` is None where nothing was measured, or not all of it.
    """

    what: str
    target: str
    measured: str
    samples: int
    reached: bool | None
    note: str = ""


def not_measured(what: str, target: str, why: str) -> Row:
    """A row whose ingredients are missing."""
    return Row(what, target, "not measured", 0, None, why)


class RowStore:
    """Rows by the name of the function that measured them, kept in a JSON file, so that a run can be taken up again.

    Rows that another configuration (``key``) measured are left out; of a damaged file, all: they are measured again.
    """

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
        self._path, self._key = path, json_value(json.dumps(key), "the key")
        self._rows: dict[str, list[Row]] = {}
        if path.exists():
            try:
                stored = build(_Stored, read_json(path, "the rows"), str(path))
                if stored.key == self._key:
                    self._rows = stored.rows
            except InputError as error:
                logger.warning("%s; its rows are measured again", error)

    def put(self, name: str, rows: Sequence[Row]) -> None:
        self._rows[name] = list(rows)
        write_atomic(self._path, json.dumps(asdict(_Stored(self._key, self._rows)), indent=1).encode())

    def get(self, name: str) -> list[Row]:
        """The rows stored under a name, none where it was never measured."""
        return self._rows.get(name, [])


@dataclass(frozen=True)
class _Stored:
    key: Any
    rows: dict[str, list[Row]]


def results_page(title: str, facts: Mapping[str, str], rows: Sequence[Row], appendices: Sequence[str] = ()) -> str:
    """The whole Markdown page: facts, table, appendices."""
    head = [f"# {title}", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    cells = [(row.what, row.target, row.measured, str(row.samples), VERDICTS[row.reached], row.note) for row in rows]
    table = markdown_table(("What", "Target", "Measured (95% interval)", "n", "Verdict", "Notes"), cells)
    return "\n".join([*head, table, *("\n" + appendix for appendix in appendices)])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def csv_appendix(title: str, path: Path) -> str:
    """A committed CSV as a section of the page, empty where there is no such file."""
    if not path.exists():
        return ""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return f"## {title}\n\n{markdown_table(header, rows)}"
