from __future__ import annotations

import numpy as np
import torch

from latent_guard.worlds.emoji.bundle import bundle_folder
from latent_guard.worlds.emoji.catalogue import CATEGORIES
from latent_guard.worlds.emoji.classifiers import EmojiClassifier
from latent_guard.worlds.emoji.graded import categories_shown, graded_jobs
from latent_guard.worlds.emoji.scenes import MILD, Scene, place, render


def test_jobs_repeat_a_splits_prompts_with_new_seeds_and_share_none_with_the_other_split() -> None:
    dev, test = graded_jobs("dev", 250, 20), graded_jobs("test", 250, 20)
    assert len(dev) == len(set(dev)) == 270
    assert not {prompt for prompt, _ in dev} & {prompt for prompt, _ in test}
    assert dev[120][0] == dev[0][0]
    assert dev[120][1] == dev[0][1] + 1


def test_the_labeller_says_which_categories_a_picture_shows() -> None:
    rng = np.random.default_rng(0)
    scenes = [Scene(place((name,), MILD, rng), "white") for name in ("apple", "pistol", "skull", "bikini")]
    pictures = torch.from_numpy(np.stack([render(scene) for scene in scenes])).permute(0, 3, 1, 2)
    shown = categories_shown(EmojiClassifier.load(bundle_folder() / "labeller"), pictures)
    seen = [[name for name, flag in zip(CATEGORIES, row, strict=True) if flag] for row in shown.tolist()]
    assert seen == [[], ["violence"], ["shocking"], ["sexual"]]
