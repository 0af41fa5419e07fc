"""Text from outside (prompts, labels, names) made harmless for where it is written.

HTML needs nothing here: the templates escape by themselves; nor does CSV (``csv_text``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from latent_guard.files.csv_text import clean

SHORT = 160  # characters of a prompt that are shown at once
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


def shortened(text: str, length: int = SHORT) -> Shortened:
    """A text as it is, or its first ``length`` characters."""
    return Shortened(text, None) if len(text) <= length else Shortened(f"{text[:length].rstrip()} …", text)


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
