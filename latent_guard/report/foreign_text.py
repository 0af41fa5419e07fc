"""Text from outside (prompts, labels, names) made harmless for where it is written.

HTML needs nothing here: the templates escape by themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SHORT = 160  # characters of a prompt that are shown at once
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# NUL and the other controls but tab and newline, lone surrogates, noncharacters: no format takes them all.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
# What a spreadsheet takes for a formula, the full-width signs of East Asian keyboards included (OWASP, CSV injection).
_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"^[{_SIGNS}\t\r\n]")
# A spreadsheet splits a cell at ends of lines, and at semicolons or tabs where these separate lists.
_SPLITS, _LATER_FORMULA = frozenset(";\t\n"), re.compile(f'([;\\s"]+)([{_SIGNS}])?')
# Marks that mean something inside a line, and what starts a web address or an emoji's short name.
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$]|:(?=[\w/+-])|(?<=www)\.)", re.IGNORECASE)
_SPACES = re.compile("[\\s\u2028\u2029]+")
_ISOLATE, _POP = "\u2068", "\u2069"
_DIRECTED = re.compile("[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc]")


@dataclass(frozen=True)
class Shortened:
    """The beginning of a text, and the whole of it where the beginning is not all."""

    start: str
    whole: str | None


def clean(text: object) -> str:
    """A value as text that can be encoded and shown: controls and lone surrogates become U+FFFD."""
    return _UNWRITABLE.sub(_REPLACEMENT, str(text).replace("\r\n", "\n").replace("\r", "\n"))


def shortened(text: str, length: int = SHORT) -> Shortened:
    """A text as it is, or its first ``length`` characters."""
    return Shortened(text, None) if len(text) <= length else Shortened(f"{text[:length].rstrip()} …", text)


def csv_cell(value: object) -> object:
    """A CSV cell that no spreadsheet runs: what begins like a formula, or does after a separator, gets an apostrophe.

    Numbers stay.
    """
    if not isinstance(value, str):
        return value
    text = clean(value)
    guarded = _LATER_FORMULA.sub(lambda found: f"{found[1]}'{found[2]}" if _is_run(found) else found[0], text)
    return f"'{guarded}" if _FORMULA.match(value) or _FORMULA.match(text) else guarded


def _is_run(found: re.Match[str]) -> bool:
    return found[2] is not None and not _SPLITS.isdisjoint(found[1])


def markdown_cell(text: str) -> str:
    """Text for one cell of a Markdown table: one line, no markup, no HTML, its direction kept to itself."""
    line = _SPACES.sub(" ", clean(text)).strip()
    escaped = _MARKDOWN.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;"))
    return f"{_ISOLATE}{_closed(escaped)}{_POP}" if _DIRECTED.search(line) else escaped


def markdown_code(text: str) -> str:
    """Text as a fenced block, behind a fence longer than any run of backticks in it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}\n{clean(text)}\n{fence}\n"


def _closed(text: str) -> str:
    """The text with its own embeddings and isolates closed: one left open would reach past the cell."""
    embedded = len(re.findall("[\u202a\u202b\u202d\u202e]", text)) - text.count("\u202c")
    isolated = len(re.findall("[\u2066-\u2068]", text)) - text.count(_POP)
    # A stray end would close the cell's own isolate, so these are dropped where they are not balanced.
    safe = text.replace(_POP, "") if isolated < 0 else text
    return safe + "\u202c" * max(0, embedded) + _POP * max(0, isolated)
