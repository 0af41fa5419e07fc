"""Untrusted text (prompts, labels, names) made safe for Markdown.

The HTML templates escape by themselves, and ``csv_text`` writes CSV.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from latent_guard.files.csv_text import clean

MAX_SHOWN = 160  # characters of a prompt that are shown at once
# Markup within a line, and the beginnings of web addresses and of emoji short names.
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$]|:(?=[\w/+-])|(?<=www)\.)", re.IGNORECASE)
_SPACES = re.compile("[\\s\u2028\u2029]+")
_ISOLATE = "\u2068"
_POP = "\u2069"
_DIRECTED = re.compile("[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc]")


@dataclass(frozen=True)
class Shortened:
    """The beginning of a text, and the whole text if it is longer."""

    start: str
    whole: str | None


def shortened(text: str, length: int = MAX_SHOWN) -> Shortened:
    """Shorten a text to its first ``length`` characters."""
    return Shortened(text, None) if len(text) <= length else Shortened(f"{text[:length].rstrip()} …", text)


def markdown_cell(text: str) -> str:
    """Escape text for one cell of a Markdown table: one line, no markup, no HTML, its text direction isolated."""
    line = _SPACES.sub(" ", clean(text)).strip()
    escaped = _MARKDOWN.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;"))
    return f"{_ISOLATE}{_closed(escaped)}{_POP}" if _DIRECTED.search(line) else escaped


def markdown_code(text: str) -> str:
    """Write text as a fenced block, with a fence longer than any run of backticks in it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}\n{clean(text)}\n{fence}\n"


def _closed(text: str) -> str:
    """Close the text's own embeddings and isolates: an open one would reach past the cell."""
    embedded = len(re.findall("[\u202a\u202b\u202d\u202e]", text)) - text.count("\u202c")
    isolated = len(re.findall("[\u2066-\u2068]", text)) - text.count(_POP)
    # A stray end would close the cell's own isolate, so unbalanced ones are dropped.
    safe = text.replace(_POP, "") if isolated < 0 else text
    return safe + "\u202c" * max(0, embedded) + _POP * max(0, isolated)
