"""What a student's view of an image is compared by."""

from __future__ import annotations

import pytest
import torch

from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.fitting.losses import ALL_TEXTS, Both, Categories, divergence
from latent_guard.fitting.teachers import Texts

TEXTS = Texts.of(
    (
        PromptSet("k", "violence", "test", 1, "Apache-2.0", ("{}",), ("dagger", "axe"), ("fork",)),
        PromptSet("s", "sexual", "test", 1, "Apache-2.0", ("{}",), ("bikini",), ("shirt",)),
    ),
    ("a cat",),
)  # dagger, axe, bikini; fork, shirt; a cat
LOGITS = torch.tensor([[1.0, 2.0, 0.5, -1.0, 0.0, 7.0]])
WANTED = torch.tensor([[0.4, 0.1, 0.2, 0.1, 0.1, 0.1]])


def test_texts_are_of_categories_or_of_none() -> None:
    assert TEXTS.column.tolist() == [1, 1, 2, 0, 0, 0]


def test_categories_are_compared_as_a_bank_scores_them_and_captions_count_for_none() -> None:
    scores = torch.stack(
        [
            torch.zeros(1),
            LOGITS[:, :2].logsumexp(1) - LOGITS[:, 3:5].logsumexp(1),
            LOGITS[:, 2] - LOGITS[:, 3:5].logsumexp(1),
        ],
        dim=1,
    )
    aim = torch.tensor([[0.3, 0.5, 0.2]])
    expected = (aim * (aim.log() - scores.log_softmax(1))).sum()
    assert float(Categories(TEXTS)(LOGITS, WANTED)) == pytest.approx(float(expected), abs=1e-6)


def test_what_is_wanted_is_the_least_of_either_and_of_both() -> None:
    over_categories = Categories(TEXTS)(LOGITS, WANTED)
    both = over_categories + ALL_TEXTS * divergence(LOGITS, WANTED)
    assert float(Both(TEXTS)(LOGITS, WANTED)) == pytest.approx(float(both))
    assert float(divergence(WANTED.log(), WANTED)) == pytest.approx(0.0, abs=1e-6)
    assert float(Categories(TEXTS)(WANTED.log(), WANTED)) > 0  # captions are in what is wanted, but not in a score
