"""All that this package puts on a terminal goes through here: text from files, folders and prompts stays text.

Nothing that is printed is read as markup, emoji names or control characters, whatever a category, a file or a prompt
is called.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from latent_guard.errors import UNPRINTABLE, one_line, printable
from latent_guard.files.json_text import escaped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn
    from rich.status import Status

T = TypeVar("T")
_NOT_IN_DATA = re.compile(f"(?![\t\n\r]){UNPRINTABLE.pattern}")


def take_any_text() -> None:
    """Have both streams escape what their encoding lacks instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(line: object = "") -> None:
    """A line of a command's answer, on stdout."""
    print(printable(line))


def note(line: object) -> None:
    """A line about the answer, on stderr."""
    if sys.stderr is None:  # closed; ``print`` would take stdout for it
        return
    with suppress(OSError):  # nobody is left to tell
        print(printable(line), file=sys.stderr, flush=True)


def warn(message: object) -> None:
    """A warning, on stderr, cut to one line."""
    note(f"warning: {one_line(message)}")


def fail(message: object) -> None:
    """Why a command ends early, on stderr, in one line."""
    note(f"error: {one_line(message)}")


def put_json(text: str) -> None:
    """A line of JSON on stdout: the same value, with nothing in it that a terminal obeys."""
    print(escaped(text))


def put_data(text: str) -> None:
    """Lines of data on stdout, with their ends, made harmless by whoever wrote them (``csv_text``)."""
    print(_NOT_IN_DATA.sub(lambda found: printable(found[0]), text), end="")


class Table:
    """Cells of plain text; long ones are folded, so that no name is cut short on a narrow terminal."""

    def __init__(self, *header: str, title: str | None = None, lines: bool = False, whole: Sequence[str] = ()) -> None:
        """``whole`` names columns that are folded last."""
        from rich.table import Table as RichTable

        self._table = RichTable(title=title and "\n".join(map(printable, title.split("\n"))), show_lines=lines)
        for name in header:
            self._table.add_column(printable(name), overflow="fold", no_wrap=name in whole)

    def add(self, *cells: object, ends_section: bool = False, bold: bool = False) -> None:
        """A row; a cell may have several lines."""
        shown = ("\n".join(map(printable, str(cell).split("\n"))) for cell in cells)
        self._table.add_row(*shown, end_section=ends_section, style="bold" if bold else None)

    def add_section(self) -> None:
        """A line below the rows so far."""
        self._table.add_section()

    def show(self, *, on_stderr: bool = False) -> None:
        """Print it."""
        _console(on_stderr).print(self._table)


def status(words: str) -> Status:
    """Show a spinner and a message on stderr while the block runs."""
    from rich.text import Text

    return _console().status(Text(printable(words)))


def progress(*columns: ProgressColumn, shown: bool | None = None, transient: bool = True) -> Progress:
    """A progress bar on stderr, by default where that is a terminal."""
    from rich.progress import Progress

    console = _console()
    return Progress(
        *columns, console=console, transient=transient, disable=not (console.is_terminal if shown is None else shown)
    )


def track(values: Iterable[T], words: str, total: int | None = None) -> Iterator[T]:
    """Iterate over the values, ``total`` in number where they do not say so, under a progress bar."""
    from rich.markup import escape

    with progress() as bar:
        yield from bar.track(values, total, description=escape(printable(words)))


def _console(on_stderr: bool = True) -> Console:
    from rich.console import Console

    return Console(stderr=on_stderr, markup=False, emoji=False, highlight=False)
