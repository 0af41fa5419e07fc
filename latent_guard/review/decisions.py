"""What reviewers decided, as JSON lines beside the images: labels that a guard can learn from."""

from __future__ import annotations

import fcntl
import os
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.files.atomic import writing
from latent_guard.files.documents import json_value, read_lines
from latent_guard.files.json_text import json_text

FILE = "decisions.jsonl"
Choice = Literal["uphold", "overturn"]  # the image is unsafe as the guard said, or it is harmless


@dataclass(frozen=True)
class ReviewDecision:
    """A reviewer's decision about one withheld image.

    Attributes:
        time: ISO 8601, in UTC.
        id: of the image.
        decision: ``uphold`` where the image shows what the guard said, ``overturn`` where it is harmless.
        category: what the guard took it for; empty where its verdict names none.
        reviewer: who decided; may be empty.
    """

    time: str
    id: str
    decision: Choice
    category: str
    reviewer: str

    @classmethod
    def now(cls, item: str, decision: Choice, category: str, reviewer: str) -> ReviewDecision:
        """A decision that is taken at this moment."""
        return cls(datetime.now(timezone.utc).isoformat(timespec="milliseconds"), item, decision, category, reviewer)


@dataclass(frozen=True)
class DecisionLog:
    """The decisions of a folder; the last one about an image counts."""

    folder: Path

    @property
    def path(self) -> Path:
        """The file, which is made with the first decision."""
        return self.folder / FILE

    def add(self, decision: ReviewDecision) -> None:
        """Append a decision, whole; reviewers may do so at once.

        Raises:
            InputError: the file system refuses.
        """
        line = (json_text(asdict(decision)) + "\n").encode()
        with writing(self.path):
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                size = os.fstat(file).st_size
                if size and os.pread(file, 1, size - 1) != b"\n":  # a kill or a full disk has cut the line before
                    line = b"\n" + line
                if os.write(file, line) < len(line):
                    raise InputError(f"{self.path} was cut off in mid-line; make room on its disk and decide again")
            finally:
                os.close(file)  # and with it the lock

    def latest(self) -> tuple[dict[str, ReviewDecision], int]:
        """The last decision about each image, by its id, and how many lines hold none.

        Raises:
            InputError: the file is there and cannot be read.
        """
        if not self.path.exists():
            return {}, 0
        read = [_decision(line) for line in read_lines(self.path, "the reviewers' decisions")]
        return {one.id: one for one in read if one is not None}, read.count(None)


def _decision(line: bytes) -> ReviewDecision | None:
    try:
        return build(ReviewDecision, json_value(line, "a line", any_text=True), "a decision")
    except InputError:
        return None
