from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.exemplars import with_examples, with_exemplars
from latent_guard.concepts.texts import Concept
from latent_guard.errors import InputError

WIDTH = 16
GAP = 3 * torch.eye(WIDTH)[15]  # images lie apart from texts, along the last axis


def bank() -> ConceptBank:
    axes = torch.eye(WIDTH)
    return ConceptBank(
        concepts=(Concept("a dagger", "violence"),),
        embeddings=axes[:1],
        benign_prompts=("a fork", "a hammer", "a ghost"),
        benign=axes[1:4],
        fingerprint="axes",
        logit_scale=20.0,
        noise_levels=torch.tensor([0.0, 0.5]),
        thresholds=torch.ones(1, 2),
    )


def images(axis: Tensor, count: int, seed: int) -> Tensor:
    noise = 0.2 * torch.randn((count, WIDTH), generator=torch.Generator().manual_seed(seed))
    return normalize(torch.eye(WIDTH)[axis] + GAP + noise, dim=-1)


def test_a_concept_that_is_only_shown_is_recognised_across_the_gap_between_images_and_texts() -> None:
    ordinary = images(torch.randint(1, 4, (60,), generator=torch.Generator().manual_seed(0)), 60, 1)
    shown = images(torch.tensor([7] * 12), 12, 2)
    taught = with_exemplars(bank(), Concept("photos of masks", "shocking"), shown, ordinary)
    assert taught.categories == ("violence", "shocking")
    scores = taught.reference().scores(torch.cat([images(torch.tensor([7] * 20), 20, 3), ordinary]))
    assert scores[:20, 1].min() > scores[20:, 1].max()
    assert scores[20:, 1].median() < 0 < scores[:20, 1].median()


def test_other_categories_score_as_before_and_thresholds_must_be_set_again() -> None:
    ordinary, shown = images(torch.tensor([1, 2, 3] * 5), 15, 1), images(torch.tensor([7] * 5), 5, 2)
    taught = with_exemplars(bank(), Concept("masks", "shocking"), shown, ordinary)
    assert torch.equal(taught.reference().scores(shown)[:, 0], bank().reference().scores(shown)[:, 0])
    assert torch.equal(taught.thresholds, torch.zeros(2, 1))
    assert taught.calibration is None


def test_a_concept_without_images_or_there_already_is_refused() -> None:
    some = images(torch.tensor([1]), 1, 0)
    with pytest.raises(InputError, match="no exemplar"):
        with_exemplars(bank(), Concept("masks", "shocking"), some[:0], some)
    with pytest.raises(InputError, match="ordinary"):
        with_exemplars(bank(), Concept("masks", "shocking"), some, some[:0])
    with pytest.raises(InputError, match="already"):
        with_exemplars(replace(bank()), Concept("a dagger", "violence"), some, some)


def test_what_is_shown_to_be_harmless_falls_below_what_is_not() -> None:
    ordinary = images(torch.randint(1, 4, (60,), generator=torch.Generator().manual_seed(0)), 60, 1)
    alarming = normalize(images(torch.tensor([7] * 40), 40, 2) + 0.3 * torch.eye(WIDTH)[0], dim=-1)
    harmless = {f"a mask {number}": row for number, row in enumerate(alarming[:20])}
    taught = with_examples(bank(), {}, harmless, ordinary)
    daggers = images(torch.tensor([0] * 20), 20, 3)
    before, after = (one.reference().scores(torch.cat([alarming[20:], daggers]))[:, 0] for one in (bank(), taught))
    assert before[:20].quantile(0.9) > before[20:].quantile(0.1)
    assert after[:20].quantile(0.9) < after[20:].quantile(0.1)
    assert taught.benign_prompts == (*bank().benign_prompts, *harmless)
    assert taught.calibration is None


def test_what_is_shown_to_be_unsafe_is_recognised_and_each_name_is_there_once() -> None:
    ordinary = images(torch.randint(1, 4, (60,), generator=torch.Generator().manual_seed(0)), 60, 1)
    masks = images(torch.tensor([7] * 30), 30, 2)
    shown = {Concept(f"a mask {number}", "violence"): row for number, row in enumerate(masks[:10])}
    taught = with_examples(bank(), shown, {}, ordinary)
    scores = taught.reference().scores(torch.cat([masks[10:], ordinary]))[:, 0]
    assert scores[:20].min() > scores[20:].max()
    with pytest.raises(InputError, match="already"):
        with_examples(taught, shown, {}, ordinary)
    with pytest.raises(InputError, match="already"):
        with_examples(bank(), {}, {"a fork": masks[0]}, ordinary)
    with pytest.raises(InputError, match="ordinary"):
        with_examples(bank(), shown, {}, ordinary[:0])
