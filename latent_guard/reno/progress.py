"""The progress of a noise search: each image's best noise so far, and which images are still optimised."""

from __future__ import annotations

import torch
from torch import Tensor

from latent_guard.reno.noise import by_image
from latent_guard.reno.result import StopReason

_REASONS = (StopReason.ITERATIONS, StopReason.TARGET, StopReason.PLATEAU, StopReason.NOT_FINITE)


class Progress:
    """Rewards and best noise of a running search, kept on the device.

    The host waits for the device only where an iteration may be the last. Shapes: B images, R rewards.
    """

    def __init__(self, noise: Tensor, target: float | None, patience: int | None) -> None:
        images = len(noise)
        device = noise.device
        self.noise = noise.detach().clone()
        self.best_iteration = torch.zeros(images, dtype=torch.long, device=device)
        self.active = torch.ones(images, dtype=torch.bool, device=device)
        self._best_total = torch.full((images,), -torch.inf, device=device)
        self._reason = torch.zeros(images, dtype=torch.long, device=device)
        self._target = target
        self._patience = patience
        self._rewards: list[Tensor] = []
        self._totals: list[Tensor] = []

    @torch.no_grad()
    def update(self, number: int, noise: Tensor, rewards: Tensor, total: Tensor) -> None:
        """Record an iteration's noise (B, ...), rewards (R, B) and total (B,), and stop images that are done."""
        self._rewards.append(torch.where(self.active, rewards, torch.nan))
        self._totals.append(torch.where(self.active, total, torch.nan))
        better = self.active & total.isfinite() & (total > self._best_total)
        self._best_total = torch.where(better, total, self._best_total)
        self.best_iteration = torch.where(better, number, self.best_iteration)
        self.noise = torch.where(by_image(better, noise), noise, self.noise)
        if self._target is not None:
            self._stop(self._best_total >= self._target, StopReason.TARGET)
        if self._patience is not None:
            self._stop(number - self.best_iteration >= self._patience, StopReason.PLATEAU)

    def stop_where_not_finite(self, values: Tensor) -> None:
        """Stop images whose total (B,) or gradient (B, ...) is not finite."""
        self._stop(~values.reshape(len(values), -1).isfinite().all(dim=1), StopReason.NOT_FINITE)

    def all_stopped(self) -> bool:
        """Whether no image is left. The host waits for the answer only where images may stop early."""
        may_stop = self._target is not None or self._patience is not None
        return may_stop and not bool(self.active.any())

    def reward_curves(self) -> Tensor:
        """The rewards, (iterations, R, B) on the CPU; NaN after an image was stopped."""
        return torch.stack(self._rewards).cpu()

    def total_curves(self) -> Tensor:
        """The weighted sums, (iterations, B) on the CPU; NaN after an image was stopped."""
        return torch.stack(self._totals).cpu()

    def stop_reasons(self) -> tuple[StopReason, ...]:
        """The reason why each image was stopped."""
        return tuple(_REASONS[reason] for reason in self._reason.tolist())

    def _stop(self, images: Tensor, reason: StopReason) -> None:
        self._reason = torch.where(self.active & images, _REASONS.index(reason), self._reason)
        self.active = self.active & ~images
