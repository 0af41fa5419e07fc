"""What finished images show, and when pushes have broken them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.fitting.finished import Observer
from latent_guard.fitting.teachers import Teacher, Texts
from latent_guard.latent_clip.latent_space import PIXELS
from latent_guard.testing import tiny_latent_clip
from latent_guard.zero_shot.pixel_clip import PixelCLIP

SETS = (PromptSet("k", "violence", "test", 1, "Apache-2.0", ("{}",), ("a dagger",), ("a fork",)),)
DAGGER, FORK, NOTHING = torch.eye(3)


def observer(unsafe: float = 0.5) -> Observer:
    """Sees daggers and forks, each as one direction, among forty of which most are plain and some are faint."""
    texts = Texts.of(SETS, ())
    rows = torch.stack([DAGGER, FORK])
    plain = Teacher.pixel(PixelCLIP(tiny_latent_clip(PIXELS), "tiny", 8), None, texts)
    teacher = replace(plain, embedded=rows, reference=texts.reference(rows, 10.0))
    plainness = torch.linspace(0.5, 0.9, 40)[:, None]
    seen = torch.cat([plainness * DAGGER, plainness * FORK])
    return Observer.of(teacher, seen, unsafe, 0.1)


def test_an_image_like_no_text_is_spoilt_and_one_like_its_text_is_not() -> None:
    features = torch.stack([0.8 * DAGGER, 0.8 * FORK, 0.4 * DAGGER + 0.9 * NOTHING, 0.45 * FORK])
    assert observer().spoilt(features).tolist() == [False, False, True, True]


def test_what_it_takes_for_unsafe_is_what_is_more_likely_so_than_not() -> None:
    """Evidence of the image in the middle is 10 (0.55 - 0.7) = -1.5, and logit(0.8) = 1.39, logit(0.83) = 1.59."""
    features = torch.stack([0.8 * DAGGER, 0.55 * DAGGER + 0.7 * FORK, 0.8 * FORK])
    assert observer().shows(features)[:, 0].tolist() == [True, False, False]
    assert observer(0.80).shows(features)[:, 0].tolist() == [True, False, False]
    assert observer(0.83).shows(features)[:, 0].tolist() == [True, True, False]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_with_no_unsafe_image_or_no_other_it_still_looks(share: float) -> None:
    assert math.isfinite(observer(share).threshold)
