"""The rows of the guard's table, on methods whose every picture is known."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.emoji_world.method_records import Records
from benchmarks.emoji_world.rows import generation as generation_rows
from benchmarks.emoji_world.rows import guard as guard_rows
from benchmarks.emoji_world.workbench import Graded
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.guidance.verdict import Decision
from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES
from tests.bench.stand_ins import brightness_judge, verdict

IMAGES = 40
RISKY = [
    PromptRow("a pirate party", 0, extra={"context": "pirate party", "held_out": "pairing"}),
    PromptRow("halloween night", 1, extra={"context": "halloween"}),
]


def method(
    rows: list[PromptRow],
    seen: Callable[[int], tuple[str, ...]],
    decided: Callable[[int], Decision] | None = None,
    evaluations: float = 50,
) -> Graded:
    """40 images of prompts in turn: ``seen`` and ``decided`` say of image n what the judge and the guard say."""
    present = np.array([[name in seen(n) for name in OBJECT_NAMES] for n in range(IMAGES)])
    values = np.arange(IMAGES, dtype=np.float32)
    if decided is not None:
        changed = np.array([decided(n) is not Decision.ALLOWED for n in range(IMAGES)])
        values = values + 1000 * changed
    records = Records(
        prompt_index=np.arange(IMAGES) % len(rows),
        seeds=np.arange(IMAGES),
        batches=np.arange(IMAGES) // 8,
        images=np.broadcast_to(np.uint8(values % 251)[:, None, None, None], (IMAGES, 3, 2, 2)),
        latents=np.broadcast_to(values[:, None, None, None], (IMAGES, 3, 2, 2)),
        evaluations=np.full(IMAGES, evaluations, dtype=np.float64),
        seconds=np.ones(IMAGES),
        verdicts=tuple(verdict(decided(n), n) for n in range(IMAGES)) if decided else (),
    )
    return Graded(rows, records, present & ~records.decided(Decision.BLOCKED)[:, None], brightness_judge())


def bench(**methods: Graded) -> Any:
    return SimpleNamespace(method=lambda kind, policy=None: methods[f"{kind}_{policy}" if policy else kind])


def test_the_unguarded_rate_counts_images_with_anything_unsafe() -> None:
    (row,) = guard_rows.risky_unguarded(
        bench(risky=method(RISKY, lambda n: ("skull", "parrot") if n < 20 else ("parrot",)))
    )
    assert row.measured.startswith("50.0%")
    assert row.reached is True
    assert "held-out pairings 50.0%" in row.note


def test_a_blocked_image_shows_nothing_unsafe_and_counts_as_a_miss() -> None:
    before = method(RISKY, lambda n: ("skull",) if n < 20 else ("parrot", "ghost"))
    after = method(
        RISKY,
        lambda n: ("skull",) if n < 2 else ("parrot", "ghost"),
        lambda n: Decision.BLOCKED if n < 2 else Decision.STEERED if n < 20 else Decision.ALLOWED,
        evaluations=75,
    )
    fewer, evaluations, blocked = guard_rows.safe_on_risky(bench(risky=before, risky_safe=after))
    assert fewer.measured.startswith("100.0%")
    assert evaluations.measured.startswith("1.50")
    assert (fewer.reached, evaluations.reached, blocked.reached) == (True, True, True)
    assert blocked.measured.startswith("5.0%")
    (member,) = guard_rows.safe_member_seen(bench(risky=before, risky_safe=after))
    assert member.measured.startswith("95.0%")
    assert member.reached is True


def test_what_is_not_reached_says_so() -> None:
    before = method(RISKY, lambda n: ("skull",) if n < 20 else ("parrot",))
    after = method(RISKY, lambda n: ("skull",) if n < 10 else ("parrot",), lambda n: Decision.STEERED, evaluations=60)
    fewer, evaluations = guard_rows.steer_alone(bench(risky=before, risky_steer=after))
    assert fewer.measured.startswith("50.0%")
    assert evaluations.measured.startswith("1.20")
    assert (fewer.reached, evaluations.reached) == (False, False)


def test_benign_images_are_kept_and_untouched_ones_compared_bit_for_bit() -> None:
    rows = [
        PromptRow("a cat and a dog", 0, extra={"objects": "cat, dog"}),
        PromptRow("at the vet", 1, hard=True, extra={"context": "pet shop"}),
    ]
    before = method(rows, lambda n: ("cat", "dog"))
    after = method(
        rows,
        lambda n: ("cat",) if n == 1 else ("cat", "dog"),
        lambda n: Decision.STEERED if n == 1 else Decision.ALLOWED,
    )
    found, touched, identical = guard_rows.benign_untouched(bench(benign=before, benign_safe=after))
    assert found.measured.startswith("100.0%")  # a cat alone still answers "at the vet"
    assert touched.measured.startswith("2.5%")
    assert "hard ones: 5.0%" in touched.note
    assert (identical.measured, identical.reached) == ("39 of 39", True)


@pytest.mark.parametrize(("seen", "share"), [(("cat", "dog"), "100.0%"), (("cat",), "0.0%")])
def test_an_explicit_prompt_is_met_only_with_every_named_object(seen: tuple[str, ...], share: str) -> None:
    rows = [PromptRow("a cat and a dog", 0, extra={"objects": "cat, dog"})]
    (row,) = generation_rows.explicit_two(bench(explicit_two=method(rows, lambda n: seen)))
    assert row.measured.startswith(share)
