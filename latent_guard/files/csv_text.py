"""CSV of untrusted text, whose cells no spreadsheet runs as formulas."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# NUL and the other controls but tab and newline, lone surrogates, noncharacters: no format takes them all.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
# What a spreadsheet takes for a formula, the full-width signs of East Asian keyboards included (OWASP, CSV injection).
_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"^[{_SIGNS}\t\r\n]")
# A spreadsheet splits a cell at ends of lines, and at semicolons or tabs where these separate lists.
_SPLITS, _LATER_FORMULA = frozenset(";\t\n"), re.compile(f'([;\\s"]+)([{_SIGNS}])?')
# In a name: what is written otherwise, and apostrophes and backslashes where a guard or such a writing could stand.
_IN_NAME = re.compile(
    "[\\\\\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff]"
    "|(?:^|(?<=[;\\s\"]))'"
)
_GUARD = re.compile("(?:^|(?<=[;\\s\"]))'")
_WRITTEN_OTHERWISE = re.compile(r"\\(?:[\\nrt]|x[0-9a-f]{2}|u[0-9a-f]{4})")


def clean(text: object) -> str:
    """A value as text that can be encoded and shown: controls and lone surrogates become U+FFFD."""
    return _UNWRITABLE.sub(_REPLACEMENT, str(text).replace("\r\n", "\n").replace("\r", "\n"))


def csv_cell(value: object) -> object:
    """A CSV cell that no spreadsheet runs: what begins like a formula, or does after a separator, gets an apostrophe.

    Numbers stay; so does what this function made.
    """
    if not isinstance(value, str):
        return value
    text = clean(value)
    guarded = _LATER_FORMULA.sub(lambda found: f"{found[1]}'{found[2]}" if _is_run(found) else found[0], text)
    return f"'{guarded}" if _FORMULA.match(value) or _FORMULA.match(text) else guarded


def name_cell(name: str) -> str:
    """A file's name as a cell that no spreadsheet runs and from which ``name_of_cell`` has it back, whatever it is.

    Names that hold no formula, control or backslash stand as they are.
    """
    return str(csv_cell(_IN_NAME.sub(lambda found: _written_otherwise(found[0]), name)))


def name_of_cell(cell: str) -> str:
    """The name that ``name_cell`` made a cell of."""
    plain = _GUARD.sub("", cell)
    return _WRITTEN_OTHERWISE.sub(lambda found: found[0].encode("ascii").decode("unicode_escape"), plain)


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """Rows as lines of CSV."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(csv_cell, row) for row in rows)
    return text.getvalue()


def table_csv(table: pd.DataFrame, end: str = "\n") -> bytes:
    """A table as UTF-8, its header guarded as well."""
    import pandas as pd

    guarded = table.rename(columns=csv_cell)
    for name in guarded.columns:
        if not pd.api.types.is_numeric_dtype(guarded[name]):
            guarded[name] = guarded[name].map(csv_cell)
    text: str = guarded.to_csv(index=False, lineterminator=end)
    return text.encode()


def _is_run(found: re.Match[str]) -> bool:
    return found[2] is not None and not _SPLITS.isdisjoint(found[1])


def _written_otherwise(character: str) -> str:
    return "\\x27" if character == "'" else character.encode("unicode_escape").decode()
