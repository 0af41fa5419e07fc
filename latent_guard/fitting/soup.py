"""Averages of weights: between a model and its fine-tuned copies lies one that does better on new images."""

from __future__ import annotations

import copy

import torch

from latent_guard.fitting.base import with_noise_input
from latent_guard.latent_clip.model import LatentCLIP


@torch.no_grad()
def averaged(base: LatentCLIP, *tuned: LatentCLIP) -> LatentCLIP:
    """A Latent-CLIP whose image tower is the mean of a base's and of those of models that were tuned from it.

    There are few images to learn from, and on new ones the average does better than each of them (Wortsman et al. 2022,
    "Model soups", section 3; with the base among them, as in WiSE-FT). Everything else is that of the last.
    """
    result = copy.deepcopy(tuned[-1])
    towers = [dict(model.visual.named_parameters()) for model in (with_noise_input(base), *tuned)]
    for name, weight in result.visual.named_parameters():
        weight.copy_(torch.stack([tower[name].to(weight) for tower in towers]).mean(dim=0))
    return result
