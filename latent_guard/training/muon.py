"""Muon (Jordan et al. 2024): momentum, orthogonalised, for matrices and convolution filters.

torch.optim.Muon takes 2-D weights only; most of a VAE's and a UNet's are 4-D filters, which are matrices of
(outputs, inputs x taps) here. Everything else is trained by AdamW.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # the published quintic, which maps singular values to about 1
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, each update replaced by its nearest semi-orthogonal matrix times sqrt(rows / columns)."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every weight that has a gradient."""
        for group in self.param_groups:
            for weights in _by_shape(p for p in group["params"] if p.grad is not None):
                updates = orthogonalise(torch.stack([self._direction(p, group["momentum"]) for p in weights]))
                rows, columns = updates.shape[1:]
                rate = group["lr"] * max(1.0, rows / columns) ** 0.5
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(weights, [u.view_as(p) for u, p in zip(updates, weights, strict=True)], alpha=-rate)

    def _direction(self, weight: Tensor, momentum: float) -> Tensor:
        """Nesterov's momentum of a weight's gradient, as a matrix."""
        gradient = weight.grad
        assert gradient is not None
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(state["momentum"], momentum).flatten(1)


def orthogonalise(matrices: Tensor) -> Tensor:
    """U V' of each matrix U S V' in a batch (N, rows, columns), roughly, by Newton-Schulz iterations in bfloat16."""
    a, b, c = _COEFFICIENTS
    wide = matrices.shape[1] <= matrices.shape[2]
    x = (matrices if wide else matrices.mT).bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)


def _by_shape(weights: Iterable[Tensor]) -> list[list[Tensor]]:
    """Weights that are matrices of one shape together: a batch of small products is faster than one after another."""
    buckets: dict[torch.Size, list[Tensor]] = {}
    for weight in weights:
        buckets.setdefault(weight.flatten(1).shape, []).append(weight)
    return list(buckets.values())
