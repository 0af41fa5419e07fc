"""A model between an untouched one and a tuned one: what tuning on few images gains, without what it forgets."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch

from latent_guard.latent_clip.model import LatentCLIP

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the tuned weights


def between(start: LatentCLIP, tuned: LatentCLIP, loss: Callable[[LatentCLIP], float]) -> LatentCLIP:
    """The model with the least loss on the line between two models of one architecture.

    Weights of a model and of its fine-tuned copy lie in one basin, and those between them often do better than either
    on what neither saw (WiSE-FT, Wortsman et al. 2022, equation 1).

    Args:
        start: from which ``tuned`` was tuned.
        tuned: gives all that is no weight of the image tower, as its factor on cosines.
        loss: on images that the tuning did not see.
    """

    def at(share: float) -> LatentCLIP:
        model = copy.deepcopy(tuned)
        with torch.no_grad():
            for weight, first in zip(model.visual.parameters(), start.visual.parameters(), strict=True):
                weight.lerp_(first, 1 - share)
        return model

    return min(map(at, SHARES), key=loss)
