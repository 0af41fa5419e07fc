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


@pytest.mark.parametrize("loss_of", [Categories, Both])
def test_what_is_learnt_by_it_has_the_mass_that_is_wanted_on_each_category(loss_of) -> None:
    """Without a caption's share, which no score counts, both can be met at once."""
    wanted = torch.tensor([[0.4, 0.1, 0.2, 0.1, 0.2, 0.0]])
    logits = torch.zeros(1, 6, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        loss_of(TEXTS)(logits, wanted).backward()
        optimizer.step()
    found = logits[:, :5].softmax(dim=1)
    assert float(found[:, :2].sum()) == pytest.approx(0.5, abs=0.01)
    assert float(found[:, 2]) == pytest.approx(0.2, abs=0.01)


def test_both_is_categories_and_half_as_much_of_all_texts() -> None:
    both = Categories(TEXTS)(LOGITS, WANTED) + ALL_TEXTS * divergence(LOGITS, WANTED)
    assert float(Both(TEXTS)(LOGITS, WANTED)) == pytest.approx(float(both))
