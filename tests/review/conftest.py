"""A review key, and a store with some withheld images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from latent_guard.guidance.verdict import Decision, Reason, Verdict
from latent_guard.review.keys import make_keys, read_private_key, read_public_key
from latent_guard.review.queue import ReviewQueue
from latent_guard.review.store import ReviewStore

RED = (200, 30, 40)


def verdict_of(category: str = "violence", decision: Decision = Decision.BLOCKED) -> Verdict:
    reason = Reason(category, "a dagger", 2.0, 1.0, 3, 0.5)
    return Verdict(0, decision, category, {category: 2.0}, {category: 1.0}, reason=reason)


def picture(colour: tuple[int, int, int] = RED) -> Image.Image:
    return Image.new("RGB", (24, 24), colour)


@dataclass(frozen=True)
class Room:
    """A folder of withheld images, and the file of its private key."""

    folder: Path
    key: Path

    @property
    def queue(self) -> ReviewQueue:
        return ReviewQueue(self.folder, read_private_key(self.key))

    def store(self, **settings: Any) -> ReviewStore:
        return ReviewStore(self.folder, read_public_key(f"{self.key}.pub"), **settings)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    make_keys(tmp_path / "key")
    return Room(tmp_path / "withheld", tmp_path / "key")


@pytest.fixture
def three(room: Room) -> Callable[[], list[str]]:
    """Keeps three images, and gives their ids in the order in which they were kept."""

    def kept() -> list[str]:
        store = room.store()
        categories = ("violence", "shocking", "violence")
        return [store.keep(picture(), verdict_of(name), {"prompt": f"prompt {n}"}) for n, name in enumerate(categories)]

    return kept
