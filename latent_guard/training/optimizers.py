"""The optimizers (AdamW and Muon), the learning-rate schedule, and the update of a step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from latent_guard.devices import has_fast_bfloat16
from latent_guard.training.recipe import Recipe
from latent_guard.training.towers import Towers

BETAS = (0.9, 0.98)  # as EPS: CLIP (Radford et al. 2021), table 19, ViT
EPS = 1e-6
MAX_LOGIT_SCALE = math.log(100)  # ibid., section 2.5
MAX_GRADIENT_NORM = 1.0
_MUON_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # the published quintic, which maps singular values to about 1
_MUON_ITERATIONS = 5


def new_optimizers(towers: Towers, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Make AdamW, and Muon for the transformers' matrices where the recipe gives it a rate.

    Gains, biases and the temperature do not decay, as in open_clip.
    """
    model = towers.model
    hidden: list[nn.Parameter] = []
    if recipe.muon_rate is not None:
        blocks = (model.visual.transformer, model.text.transformer)
        hidden = [p for block in blocks for p in block.parameters() if p.ndim == 2]
    chosen = {id(p) for p in hidden}
    matrices = [p for p in towers.parameters() if p.ndim >= 2 and id(p) not in chosen]
    vectors = [p for p in towers.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=BETAS, eps=EPS, fused=True)
    ]
    if recipe.muon_rate is not None:
        optimizers.append(Muon(hidden, recipe.muon_rate, weight_decay=recipe.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


class Schedule(Protocol):
    """What the learning rate depends on, as a recipe has it."""

    @property
    def steps(self) -> int: ...

    @property
    def warmup(self) -> int: ...


def rate_factor_at(step: int, recipe: Schedule) -> float:
    """The factor of the peak learning rates: linear warm-up, then half a cosine down to zero at the last step."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.5 * (1 + math.cos(math.pi * progress))


def update(towers: Towers, optimizers: Sequence[torch.optim.Optimizer], rate_factor: float) -> None:
    """Clip the gradients, take a step of every optimizer, and clear the gradients."""
    nn.utils.clip_grad_norm_(towers.parameters(), MAX_GRADIENT_NORM)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate_factor
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        towers.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024): orthogonalised momentum for matrices and convolution filters.

    Each update is Nesterov momentum, replaced by its nearest semi-orthogonal matrix times sqrt(rows / columns).
    torch.optim.Muon takes 2-D weights only; most weights of a VAE or a UNet are 4-D filters, which count here as
    matrices of (outputs, inputs x taps).
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            for weights in _by_shape(p for p in group["params"] if p.grad is not None):
                updates = orthogonalise(torch.stack([self._direction(p, group["momentum"]) for p in weights]))
                rows, columns = updates.shape[1:]
                rate = group["lr"] * max(1.0, rows / columns) ** 0.5
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(weights, [u.view_as(p) for u, p in zip(updates, weights, strict=True)], alpha=-rate)

    def _direction(self, weight: Tensor, momentum: float) -> Tensor:
        """The Nesterov momentum of a weight's gradient, as a matrix."""
        gradient = weight.grad
        assert gradient is not None
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(state["momentum"], momentum).flatten(1)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Approximate U V' of each matrix U S V' in a batch (N, rows, columns), by Newton-Schulz iterations.

    They are in bfloat16, which is enough, or in float32 where that is faster.
    """
    a, b, c = _MUON_COEFFICIENTS
    wide = matrices.shape[1] <= matrices.shape[2]
    dtype = torch.bfloat16 if has_fast_bfloat16(matrices.device.type) else torch.float32
    x = (matrices if wide else matrices.mT).to(dtype)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_MUON_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)


def _by_shape(weights: Iterable[Tensor]) -> list[list[Tensor]]:
    """Group weights by their shape as matrices: a batch of small products is faster than one after another."""
    buckets: dict[torch.Size, list[Tensor]] = {}
    for weight in weights:
        buckets.setdefault(weight.flatten(1).shape, []).append(weight)
    return list(buckets.values())
