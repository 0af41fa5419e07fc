"""The review queue as a reviewer with the private key has it: what was withheld, and what was decided about it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from latent_guard.errors import InputError
from latent_guard.files.documents import read_bytes
from latent_guard.review.decisions import Choice, DecisionLog, ReviewDecision
from latent_guard.review.store import paths_in, purge
from latent_guard.review.withheld import Details, Header, Withheld, name_of, opened

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

MAX_BYTES = 256 << 20  # of one file: a picture of 64 million pixels


@dataclass(frozen=True)
class Item:
    """A withheld image without its picture, and the last decision about it, if there is one."""

    header: Header
    details: Details
    decision: ReviewDecision | None


@dataclass(frozen=True)
class Unreadable:
    """A file that is called like a withheld image and cannot be opened, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class ReviewQueue:
    """The withheld images of a folder, and the reviewers' decisions."""

    folder: Path
    key: X25519PrivateKey

    @property
    def log(self) -> DecisionLog:
        """The decisions."""
        return DecisionLog(self.folder)

    def open(self, item: str) -> Withheld:
        """A withheld image by its id.

        Raises:
            InputError: there is none, its time has come, or its file is damaged, foreign or for another key.
        """
        path = self.folder / name_of(item)
        if not path.exists():
            raise InputError(f"{path} is not there, or is there no longer")
        try:
            found = opened(read_bytes(path, "the withheld image", MAX_BYTES), self.key)
        except InputError as error:
            raise InputError(f"{path} cannot be opened: {error}") from error
        if found.header.id != item:
            raise InputError(f"{path} cannot be opened: it was renamed, from {name_of(found.header.id)}")
        if time.time() >= found.header.expires:
            raise InputError(f"{path} is not shown: the days that it was to be kept are over")
        return found

    def items(self) -> Iterator[Item | Unreadable]:
        """All images, those that are deleted first before others; then the files that cannot be read.

        Images whose time has come are deleted.

        Raises:
            InputError: there is no such folder, or a file cannot be deleted.
        """
        purge(self.folder)
        decisions, _ = self.log.latest()
        found: list[Item] = []
        unreadable: list[Unreadable] = []
        for path in paths_in(self.folder):
            try:
                withheld = self.open(path.stem)
            except InputError as error:
                unreadable.append(Unreadable(path.name, str(error)))
            else:
                found.append(Item(withheld.header, withheld.details, decisions.get(path.stem)))
        yield from sorted(found, key=lambda item: item.header.expires)
        yield from unreadable

    def decide(self, item: str, decision: Choice, reviewer: str) -> ReviewDecision:
        """Write down a decision about an image.

        Raises:
            InputError: the image cannot be opened, or the decision not be written.
        """
        category = self.open(item).details.verdict.category or ""
        made = ReviewDecision.now(item, decision, category, reviewer)
        self.log.add(made)
        return made

    def decided(self) -> Iterator[tuple[ReviewDecision, Withheld]]:
        """The images that were decided about and can still be opened; raises as ``items``."""
        purge(self.folder)
        decisions, _ = self.log.latest()
        for path in paths_in(self.folder):
            if decision := decisions.get(path.stem):
                try:
                    yield decision, self.open(path.stem)
                except InputError:  # the page shows why
                    continue
