"""The quality of a method's images beside the unguarded ones, always told together with how safe they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from latent_guard.bench.clip_score import clip_scores
from latent_guard.bench.diversity import diversity, relative_diversity
from latent_guard.bench.judge import Pictures
from latent_guard.bench.metrics import Estimate, grouped_mean
from latent_guard.bench.picture_features import Floats, PictureCLIP
from latent_guard.bench.similarity import distances


@dataclass(frozen=True, eq=False)
class Quality:
    """N images of one method and task.

    Attributes:
        clip_scores: (N,), 0 to 100, see ``clip_scores``.
        distances: (N,), 1 - SSIM to the unguarded image of the same prompt and seed.
        features: (N, D), of the CLIP that graded them.
        clip_score, distance: their means, bootstrapped over prompts.
        diversity: of the images of a group; a collapsed method's is near 0.
        relative_diversity: over the unguarded images' in the same groups.
        model: the CLIP's name.
    """

    clip_scores: Floats
    distances: Floats
    features: Floats
    clip_score: Estimate
    distance: Estimate
    diversity: Estimate
    relative_diversity: Estimate
    model: str


def quality_of(
    pictures: Pictures,
    unguarded: Pictures,
    prompts: Sequence[str],
    prompt_index: ArrayLike,
    groups: ArrayLike,
    clip: PictureCLIP,
) -> Quality:
    """Grade pictures (N, 3, H, W) beside their unguarded pairs.

    Intervals are bootstrapped over prompts (``prompt_index``, (N,)); diversity is that of ``groups`` (N,), such as the
    prompt where it has several seeds, or its category.
    """
    features, before = clip.of_pictures(pictures), clip.of_pictures(unguarded)
    scores = clip_scores(features, clip.of_prompts(prompts))
    apart = distances(pictures, unguarded)
    index = np.asarray(prompt_index)
    return Quality(
        clip_scores=scores,
        distances=apart,
        features=features,
        clip_score=grouped_mean(scores, index),
        distance=grouped_mean(apart, index),
        diversity=diversity(features, groups),
        relative_diversity=relative_diversity(features, before, groups),
        model=clip.name,
    )
