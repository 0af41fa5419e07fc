"""Verification of an audit log: every line in its place, unchanged, and every gap marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from latent_guard.errors import InputError
from latent_guard.files.documents import json_value, read_lines
from latent_guard.guidance.audit_chain import BEGINNING, Link, head_of, is_gap, is_true, link_of, marks
from latent_guard.guidance.audit_file import parts_of
from latent_guard.guidance.audit_key import KEY


@dataclass(frozen=True)
class Place:
    """A line of a file, counted from 1, and what is to be said of it."""

    file: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line}: {self.what}"


@dataclass
class Verification:
    """What was found; ``intact`` although there are ``gaps``, each of which a line of the chain marks.

    Attributes:
        lines: of the chain, those that mark gaps included.
        problems: what was changed, dropped, inserted, reordered or cut off.
        gaps: bytes that are no line: a writer was killed there, or they are of before there was a chain.
        unkeyed: lines of the chain that were written without a key, before the first with one.
        head: the place of the last line.
    """

    lines: int = 0
    problems: list[Place] = field(default_factory=list)
    gaps: list[Place] = field(default_factory=list)
    unkeyed: int = 0
    head: Link = BEGINNING

    @property
    def intact(self) -> bool:
        """True if nothing but marked gaps was found."""
        return not self.problems


def log_files(files: Sequence[Path]) -> list[Path]:
    """The files of some logs in their order, each once: a log's name stands for all that it was rotated into."""
    return list(dict.fromkeys(part for file in files for part in parts_of(file)))


def verify(files: Sequence[Path], key: bytes | None = None, heads: Sequence[str] = ()) -> Verification:
    """Verify a log that goes through several files.

    Args:
        files: in their order; each stands for what it was rotated into, too.
        key: under which it was written; None: without one.
        heads: places that were noted earlier (``Link.head``): the log must hold these lines, or begin right behind one.

    Raises:
        InputError: a file cannot be read, or holds lines of a key and none is given.
    """
    walk = _Walk(key, {*map(head_of, heads)} - {(BEGINNING.sequence, BEGINNING.digest)})  # any log holds that one
    for file in log_files(files):
        for number, line in enumerate(read_lines(file, "the audit log"), 1):
            walk.take(Place(file, number, ""), line)
    walk.end()
    return walk.found


class _Walk:
    """From line to line; what is not of the chain waits for the line that marks it."""

    def __init__(self, key: bytes | None, heads: set[tuple[int, str]]) -> None:
        self.found = Verification()
        self._key = key
        self._heads = heads
        self._waiting: list[tuple[Place, bytes]] = []
        self._last = Place(Path(), 0, "")

    def take(self, at: Place, line: bytes) -> None:
        """The next line."""
        self._last = at
        link = link_of(line)
        if link is None:
            self._waiting.append((at, line))
            return
        if link.keyed and self._key is None:
            raise InputError(f"{at.file} was written under a key; give it in {KEY}")
        self._require_marked(at, line)
        if not is_true(line, link, self._key):
            self._problem(at, "it was changed" + (", or written under another key" if link.keyed else ""))
        elif not line.endswith(b"\n"):
            self._problem(at, "it has no end: a writer was killed there, or the file was cut")
        self._require_place(at, link)
        self._heads.discard((link.sequence, link.digest))
        self.found.lines += 1
        self.found.head = link

    def end(self) -> None:
        """Nothing follows."""
        found, last = self.found, self._last
        self._flush("it is no line of the chain, and nothing marks it: it was changed or cut, or its writer was killed")
        if self._key is not None and found.lines and not found.head.keyed:
            self._problem(last, "it was written without the key, which is there")
        for sequence, _ in sorted(self._heads):
            self._problem(last, f"the log ends here, without line {sequence} of the chain as it was noted")

    def _require_place(self, at: Place, link: Link) -> None:
        """It follows the line before, in number and digest, and is under the key if that is."""
        before = self.found.head
        if self._key is not None and not link.keyed:
            if before.keyed:
                self._problem(at, "it was written without the key, and the line before under it")
            self.found.unkeyed += 1
        if (link.sequence, link.previous) == (before.sequence + 1, before.digest):
            return
        vouched = (link.sequence - 1, link.previous)
        if not self.found.lines and vouched in self._heads:
            self._heads.remove(vouched)
        elif not self.found.lines:
            self._problem(at, f"the log begins with line {link.sequence} of the chain; what was before is missing")
        else:
            missing = f"line {link.sequence} of the chain follows line {before.sequence}"
            self._problem(at, f"{missing}: lines were changed, dropped, inserted or put elsewhere")

    def _require_marked(self, at: Place, line: bytes) -> None:
        """A gap is marked by the line behind it, and only one that is there."""
        unchained = b"".join(waiting for _, waiting in self._waiting)
        if not unchained and not is_gap(line):
            return
        if not marks(line, unchained):
            self._flush("it is no line of the chain: it was changed or inserted")
            if is_gap(line):
                self._problem(at, "the gap that it marks is not there, or another")
            return
        whole = any(_is_json(waiting) for _, waiting in self._waiting)
        if whole and self.found.lines:
            self._flush("it is whole, but no line of the chain: it was changed or inserted")
            return
        first = self._waiting[0][0]
        what = f"{len(unchained):,} bytes " + ("of before there was a chain" if whole else "of a line that was cut off")
        self.found.gaps.append(Place(first.file, first.line, what))
        self._waiting.clear()

    def _flush(self, what: str) -> None:
        for at, _ in self._waiting:
            self._problem(at, what)
        self._waiting.clear()

    def _problem(self, at: Place, what: str) -> None:
        self.found.problems.append(Place(at.file, at.line, what))


def _is_json(line: bytes) -> bool:
    """Whether a line is whole: no beginning of one is."""
    try:
        return isinstance(json_value(line, "a line", any_text=True), dict)
    except InputError:
        return False
