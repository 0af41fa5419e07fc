"""Reviewers' decisions are appended whole, and the last one about an image counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from latent_guard.errors import InputError
from latent_guard.review.decisions import DecisionLog, ReviewDecision
from tests.review.conftest import Room


def test_the_last_decision_counts_and_lines_that_are_none_are_counted(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    assert log.latest() == ({}, 0)
    log.add(ReviewDecision.now("a", "uphold", "violence", "Ann"))
    with log.path.open("a") as file:
        file.write('{"id": "a", "decision": "hope"}\n{"time": "2')  # cut by a kill
    log.add(ReviewDecision.now("a", "overturn", "violence", "B\n\u202e"))
    log.add(ReviewDecision.now("b", "uphold", "", ""))
    decisions, lost = log.latest()
    assert {item: one.decision for item, one in decisions.items()} == {"a": "overturn", "b": "uphold"}
    assert decisions["a"].reviewer == "B\n\u202e"
    assert lost == 2
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_reviewers_decide_at_once(tmp_path: Path) -> None:
    def decide(name: str) -> None:
        for number in range(50):
            DecisionLog(tmp_path).add(ReviewDecision.now(f"{name} {number}", "uphold", "violence", "x" * 2000))

    threads = [Thread(target=decide, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    decisions, lost = DecisionLog(tmp_path).latest()
    assert (len(decisions), lost) == (200, 0)


def test_only_what_can_be_opened_is_decided_about_and_handed_on(room: Room, three: Callable[[], list[str]]) -> None:
    first, second, third = three()
    queue = room.queue
    queue.decide(second, "overturn", "Ann")
    queue.decide(third, "uphold", "Ann")
    (room.folder / f"{third}.withheld").write_bytes(b"damaged")
    for item in (third, "0" * 32, "../key"):
        with pytest.raises(InputError):
            queue.decide(item, "uphold", "Ann")
    assert [(one.id, one.category) for one, _ in queue.decided()] == [(second, "shocking")]
    assert first not in queue.log.latest()[0]
