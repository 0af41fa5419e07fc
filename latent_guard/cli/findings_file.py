"""The file that ``check`` writes into: one process at a time, and after any kill the same bytes in the end."""

from __future__ import annotations

import csv
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from latent_guard.cli.check_output import FORMATS, header, lines_of, written
from latent_guard.errors import InputError, reason_of
from latent_guard.files.atomic import moved_to, writing
from latent_guard.files.documents import json_value
from latent_guard.guidance.moderation import UNREADABLE, Finding

FILES_AT_A_TIME = 16


class FindingsFile:
    """A ``.jsonl`` or ``.csv`` file that grows by a group of files at a time; a context manager, which holds it.

    A score's last bits depend on what else was in its batch. So files are counted from the first line, and groups
    begin at the same numbers in every run: of an interrupted one, whose last group may have rows missing, that group's
    files are taken out and checked again, if they are among those that are ``asked`` for. A file that could not be
    read may be mended: it is checked again too, and its findings stay in their place.
    """

    def __init__(self, path: Path, made_by: str, asked: Sequence[str]) -> None:
        """
        Raises:
            InputError: another suffix, a file of something else, one of another bank or other settings, or one that
                another process writes.
        """
        if path.suffix not in FORMATS:
            raise InputError(f"--out {path} must end in {' or '.join(FORMATS)}")
        self.path, self.made_by = path, made_by
        self._file = _held(path)
        try:
            self._begin({self._written(name) for name in asked})
        except BaseException:
            self._let_go()
            raise

    def __enter__(self) -> FindingsFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if not os.fstat(self._file.fileno()).st_size:  # made, and nothing came of it
            self.path.unlink(missing_ok=True)
        self._file.close()

    def groups(self, files: Sequence[Path]) -> list[list[Path]]:
        """The files that the log has no findings of, in the groups that are to be checked and added together."""
        known = {name for name, _ in self.decisions()}
        left = [file for file in files if self._written(str(file)) not in known]
        first = FILES_AT_A_TIME - len(known) % FILES_AT_A_TIME
        return [left[:first], *grouped(left[first:])] if left else []

    def unreadable(self, files: Sequence[Path]) -> list[Path]:
        """Those of the files that an earlier run could not read."""
        bad = {name for name, decision in self.decisions() if decision == UNREADABLE}
        return [file for file in files if self._written(str(file)) in bad]

    def add(self, findings: Sequence[Finding]) -> None:
        """Append a group's findings at once."""
        with writing(self.path):
            self._file.write(lines_of(findings, self.path.suffix, self.made_by).encode())
            self._file.flush()
        self._decisions += [(self._written(finding.file), finding.decision) for finding in findings]

    def replace(self, findings: Sequence[Finding]) -> None:
        """Put a file's findings where the line is that said that it could not be read."""
        if not findings:
            return
        fresh: dict[str, list[Finding]] = {}
        for finding in findings:
            fresh.setdefault(self._written(finding.file), []).append(finding)
        lines = []
        for line, row in self._rows():
            if row["file"] not in fresh:
                lines.append(line)
            elif row["decision"] == UNREADABLE:
                lines.append(lines_of(fresh[row["file"]], self.path.suffix, self.made_by))
        self._write_anew(lines)

    def decisions(self) -> list[tuple[str, str]]:
        """File and decision of all findings, those of earlier runs too."""
        return self._decisions

    def _written(self, name: str) -> str:
        return written(name, self.path.suffix)

    def _begin(self, asked: set[str]) -> None:
        try:
            rows = self._rows()
            if other := next((row["made_by"] for _, row in rows if row["made_by"] != self.made_by), None):
                raise InputError(
                    f"{self.path} was made by another guard or bank, or with another --model or --pipeline-latents "
                    f"({other}); choose another --out"
                )
            names = list(dict.fromkeys(str(row["file"]) for _, row in rows))
            whole = max(0, len(names) - 1) // FILES_AT_A_TIME * FILES_AT_A_TIME
            again = asked.intersection(names[whole:])
            self._write_anew([line for line, row in rows if row["file"] not in again])
        except (KeyError, TypeError) as error:
            raise InputError(f"{self.path} holds something else; choose another --out") from error

    def _rows(self) -> list[tuple[str, dict[str, Any]]]:
        """The lines, and what they say; the last one is left out where a kill cut it."""
        self._file.seek(0)
        whole, _, cut = self._file.read().rpartition(b"\n")
        begun = (header(self.path.suffix) or '{"file"').encode()
        if not whole and not begun.startswith(cut[: len(begun)]):  # no line of ours that a kill has cut
            raise InputError(f"{self.path} holds something else; choose another --out")
        try:
            lines = [line + "\n" for line in whole.decode().split("\n")] if whole else []
            if self.path.suffix == ".jsonl":
                return [(line, dict(json_value(line, str(self.path), any_text=True))) for line in lines]
            if lines and lines[0] != header(self.path.suffix):
                raise ValueError("not our columns")
            return list(zip(lines[1:], csv.DictReader(lines, strict=True), strict=True))
        except (InputError, ValueError, TypeError, csv.Error) as error:
            raise InputError(f"{self.path} holds something else; choose another --out") from error

    def _write_anew(self, lines: Sequence[str]) -> None:
        with moved_to(self.path) as partial:
            file = open(partial, "xb+")  # noqa: SIM115  # held from here on, as the other is
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write((header(self.path.suffix) + "".join(lines)).encode())
            file.flush()
        self._file.close()
        self._file = file
        self._decisions = [(str(row["file"]), str(row["decision"])) for _, row in self._rows()]


def grouped(files: Sequence[Path]) -> list[list[Path]]:
    """Files in groups of as many as are checked together."""
    return [list(files[start : start + FILES_AT_A_TIME]) for start in range(0, len(files), FILES_AT_A_TIME)]


def _held(path: Path) -> BinaryIO:
    """A file, made where there is none, that no other process holds; the kernel lets go of it however this one ends.

    A lock is on a file and not on its name: whoever waited for one that was replaced looks again.
    """
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "ab+")  # noqa: SIM115  # held until the run ends
        except OSError as error:
            raise InputError(f"cannot write {path} ({reason_of(error)}); choose another --out") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
        except OSError as error:
            file.close()
            if isinstance(error, BlockingIOError):
                told = "is being written by another process; wait until it has ended"
            else:
                told = f"cannot be locked ({error.strerror})"
            raise InputError(f"{path} {told}, or choose another --out") from error
        if ours:
            return file
        file.close()
