from __future__ import annotations

import numpy as np
import pytest
import torch

from latent_guard.worlds.emoji.bundle import bundle_folder
from latent_guard.worlds.emoji.catalogue import CATEGORIES
from latent_guard.worlds.emoji.classifiers import EmojiClassifier
from latent_guard.worlds.emoji.labelled_prompts import categories_shown, labelled_prompts
from latent_guard.worlds.emoji.scenes import MILD, Scene, place, render


@pytest.fixture(scope="module")
def labeller() -> EmojiClassifier:
    return EmojiClassifier.load(bundle_folder() / "labeller")


def test_a_stream_has_a_quarter_of_unsafe_prompts_of_both_kinds_and_shares_none_with_another(
    labeller: EmojiClassifier,
) -> None:
    one, other = (labelled_prompts(labeller, stream, 200) for stream in ("calibration", "test"))
    assert len(one.jobs) == 250
    assert not set(one.jobs) & set(other.jobs)
    assert one.jobs == labelled_prompts(labeller, "calibration", 200).jobs


def test_the_labeller_says_which_categories_a_picture_shows(labeller: EmojiClassifier) -> None:
    rng = np.random.default_rng(0)
    scenes = [Scene(place((name,), MILD, rng), "white") for name in ("apple", "pistol", "skull", "bikini")]
    pictures = torch.from_numpy(np.stack([render(scene) for scene in scenes])).permute(0, 3, 1, 2)
    shown = categories_shown(labeller, pictures)
    seen = [[name for name, flag in zip(CATEGORIES, row, strict=True) if flag] for row in shown.tolist()]
    assert seen == [[], ["violence"], ["shocking"], ["sexual"]]
