"""The CLIP that grades pictures: the world's own, one of open_clip, or a clear word."""

from __future__ import annotations

import numpy as np
import pytest

from latent_guard.bench.metrics.clip_features import EMOJI_GRADER, clip_scores, open_grader
from latent_guard.errors import InputError
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.worlds.emoji.bundle import BUNDLE, GRADER
from latent_guard.worlds.emoji.captions import caption
from latent_guard.worlds.emoji.pool import draw_pool
from latent_guard.worlds.emoji.scenes import FULL

SCENES = 100


def test_the_worlds_grader_prefers_a_pictures_own_caption() -> None:
    grader, rng = open_grader(EMOJI_GRADER), np.random.default_rng(0)
    pool = draw_pool(987_654, SCENES, FULL)
    pictures = grader.of_pictures(np.asarray(pool.pictures))
    texts = grader.of_prompts([caption(sample.scene, rng) for sample in pool.samples])
    own = clip_scores(pictures, texts)
    others = clip_scores(pictures, np.roll(texts, 1, axis=0))
    assert (own > others).mean() > 0.95
    assert ((pictures @ texts.T).argmax(axis=1) == np.arange(SCENES)).mean() > 0.7


def test_the_worlds_grader_is_no_methods_model() -> None:
    grader = LatentCLIP.from_pretrained(GRADER).fingerprint()
    assert all(LatentCLIP.from_pretrained(BUNDLE / name).fingerprint() != grader for name in ("guard", "pixel_twin"))


def test_an_unknown_grader_is_an_error_that_says_what_there_is() -> None:
    with pytest.raises(InputError, match="emoji-grader nor open_clip's"):
        open_grader("nobody")
    with pytest.raises(InputError, match="open_clip has no model"):
        open_grader("ViT-Z-99:somebody")
