"""What moves the weights, and how fast at which step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from latent_guard.training.muon import Muon
from latent_guard.training.recipe import Recipe
from latent_guard.training.towers import Towers

BETAS, EPS = (0.9, 0.98), 1e-6  # CLIP (Radford et al. 2021), table 19, ViT
MAX_LOGIT_SCALE = math.log(100)  # ibid., section 2.5
MAX_GRADIENT = 1.0


def new_optimizers(towers: Towers, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the transformers' matrices where the recipe gives it a rate.

    Gains, biases and the temperature do not decay, as in open_clip.
    """
    model = towers.model
    hidden: list[nn.Parameter] = []
    if recipe.muon_rate is not None:
        blocks = (model.visual.transformer, model.text.transformer)
        hidden = [p for block in blocks for p in block.parameters() if p.ndim == 2]
    chosen = {id(p) for p in hidden}
    weights = [p for p in towers.parameters() if p.ndim >= 2 and id(p) not in chosen]
    others = [p for p in towers.parameters() if p.ndim < 2]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=BETAS, eps=EPS, fused=True)
    ]
    if recipe.muon_rate is not None:
        optimizers.append(Muon(hidden, recipe.muon_rate, weight_decay=recipe.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def rate_factor_at(step: int, recipe: Recipe) -> float:
    """What peak learning rates are multiplied by: linear warm-up, then half a cosine down to zero at the last step."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.5 * (1 + math.cos(math.pi * progress))


def update(towers: Towers, optimizers: Sequence[torch.optim.Optimizer], rate_factor: float) -> None:
    """Clip the gradients, take a step of every optimizer, and forget the gradients."""
    nn.utils.clip_grad_norm_(towers.parameters(), MAX_GRADIENT)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate_factor
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        towers.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
