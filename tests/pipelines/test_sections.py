"""Videos made section by section: one verdict each, and what one section shows is not forgotten in the next."""

from __future__ import annotations

import numpy as np
import pytest

from latent_guard.conformance.harness import NEVER, decoded_by, known_guard
from latent_guard.errors import GuardError
from latent_guard.guidance.policy import BLOCK, FLAG
from latent_guard.guidance.verdict import Decision
from latent_guard.pipelines.family_table import KNOWN
from tests.pipelines.families.table import listed
from tests.pipelines.families.tiny import Tiny

KINDS = [tiny for tiny in listed("FAMILIES") if (row := KNOWN.get(tiny.name)) is not None and row.sections]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_video_has_one_verdict_whatever_its_sections(kind: Tiny) -> None:
    pipe = kind.pipeline()
    plain = kind.call(pipe)
    with decoded_by(pipe) as given, known_guard(pipe, NEVER, FLAG).attach(pipe) as watch:
        guarded = kind.call(pipe)
    assert len(given) > 1
    assert np.array_equal(plain, guarded)
    assert [verdict.image for verdict in watch.verdicts] == list(range(len(plain)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_was_unsafe_in_one_section_is_blocked_in_all_that_follow(kind: Tiny) -> None:
    pipe = kind.pipeline()
    with known_guard(pipe, NEVER, FLAG).attach(pipe) as watch:
        kind.call(pipe)
    first = next(check for check in watch.checks if check.noise_level == 0)
    worst = int(first.scores[:, 0].argmax())
    threshold = float(first.scores[worst, 0]) - 1e-3
    with decoded_by(pipe) as given, known_guard(pipe, threshold, BLOCK).attach(pipe) as watch:
        kind.call(pipe)
    assert watch.verdicts[worst].decision is Decision.BLOCKED
    last = given[-1].unflatten(0, (len(watch.verdicts), -1))[worst]
    assert float(last.std(dim=(-1, -2)).max()) < 1e-3


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_latents_of_sections_are_not_handed_out(kind: Tiny) -> None:
    pipe = kind.pipeline()
    with pytest.raises(GuardError, match="sections"), known_guard(pipe, NEVER, FLAG).attach(pipe):
        kind.call(pipe, output_type="latent")
