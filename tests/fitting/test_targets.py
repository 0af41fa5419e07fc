"""What a student is to learn: the teacher's view, corrected by what was asked for."""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.fitting.targets import over_texts, posteriors
from latent_guard.fitting.teachers import Teacher, Texts
from latent_guard.latent_clip.latent_space import PIXELS
from latent_guard.testing import tiny_latent_clip
from latent_guard.zero_shot.pixel_clip import PixelCLIP

SETS = (
    PromptSet("k", "violence", "test", 1, "Apache-2.0", ("{}", "a {}"), ("dagger", "axe"), ("fork",)),
    PromptSet("s", "sexual", "test", 1, "Apache-2.0", ("{}",), ("bikini",), ("swimming trunks", "fork")),
)


@given(st.floats(0.02, 0.98), st.integers(0, 1000))
def test_the_share_of_a_group_is_found_from_scores_alone(share: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shown = torch.rand(4000, generator=generator) < share
    # Log-odds of two Gaussians of unit variance, 3 apart: log p(x | shown) / p(x | not) = 3 x - 4.5.
    x = torch.randn(4000, generator=generator) + 3.0 * shown
    scores = (3 * x - 4.5)[:, None]
    found = posteriors(scores, ["violence"] * 4000)[:, 1].mean()
    assert abs(float(found) - float(shown.float().mean())) < 0.05


def test_what_looks_alike_counts_for_less_where_hardly_any_image_shows_it() -> None:
    benign = torch.full((200, 1), -6.0)
    benign[0] = 1.0
    asked = torch.full((200, 1), 4.0)
    asked[0] = 1.0
    found = posteriors(torch.cat([benign, asked]), [""] * 200 + ["violence"] * 200)
    assert found[0, 1] < 0.2
    assert found[200, 1] > 0.8
    assert torch.allclose(found.sum(dim=1), torch.ones(400))


def test_a_distribution_over_texts_has_the_posteriors_mass_and_the_teachers_order() -> None:
    torch.manual_seed(0)
    texts = Texts.of(SETS, ("a cat", "a dog"))
    teacher = Teacher.pixel(PixelCLIP(tiny_latent_clip(PIXELS), "tiny", 8), None, texts)
    features = torch.nn.functional.normalize(torch.randn(3, teacher.embedded.shape[1]), dim=1)
    posterior = torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    wanted = over_texts(teacher, texts, features, posterior)
    assert texts.categories == ("violence", "sexual")
    assert torch.allclose(wanted[:, :2].sum(1), posterior[:, 1], atol=1e-6)
    assert torch.allclose(wanted[:, 2], posterior[:, 2], atol=1e-6)
    assert torch.allclose(wanted.sum(1), torch.ones(3))
    own = (teacher.logit_scale * features @ teacher.embedded.T).softmax(-1)
    assert torch.allclose(wanted[0, 0] / wanted[0, 1], own[0, 0] / own[0, 1], rtol=1e-4)


def test_texts_are_scored_as_a_bank_scores_them() -> None:
    from latent_guard.concepts.bank import ConceptBank

    torch.manual_seed(0)
    clip = tiny_latent_clip(PIXELS)
    bank = ConceptBank.build(clip, SETS)
    teacher = Teacher.pixel(PixelCLIP(clip, "tiny", 8), None, Texts.of(SETS, ("a cat",)))
    features = torch.nn.functional.normalize(torch.randn(5, 16), dim=1)
    assert torch.allclose(teacher.reference.scores(features), bank.reference().scores(features), atol=1e-4)


def test_a_teacher_is_as_sharp_as_makes_the_prompts_most_likely() -> None:
    """Two concepts in the middle add up at a small factor to more than one that is met."""
    texts = Texts.of(SETS, ())
    plain = Teacher.pixel(PixelCLIP(tiny_latent_clip(PIXELS), "tiny", 8), None, texts)
    rows = torch.tensor([[1.0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0], [0, 0, 1.0, 0, 0], [0, 0, 0, 1.0, 0], [0, 0, 0, 0, 1.0]])
    teacher = replace(plain, embedded=rows, reference=texts.reference(rows, 1.0), logit_scale=1.0)
    features = torch.tensor([[1.0, 0, 0, 0.9, 0.0], [0.5, 0.5, 0, 0.6, 0.0]])
    fitted = teacher.fitted_to(features, torch.tensor([True, False]))
    scores = fitted.reference.scores(features).amax(dim=1)
    assert fitted.logit_scale > teacher.logit_scale
    assert scores[0] > scores[1]
    assert torch.equal(fitted.evidence(features), fitted.reference.scores(features) + fitted.offset)
