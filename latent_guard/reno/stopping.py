"""The best noise so far of each image, and which images are still worth going on with."""

from __future__ import annotations

import torch
from torch import Tensor

from latent_guard.reno.noise import by_image
from latent_guard.reno.result import Stopped

_REASONS = (Stopped.ITERATIONS, Stopped.TARGET, Stopped.PLATEAU, Stopped.NOT_FINITE)


class Progress:
    """Kept on the device, so that an iteration waits for nothing unless it may be the last.

    Shapes: B images, R rewards.
    """

    def __init__(self, noise: Tensor, target: float | None, patience: int | None) -> None:
        images, device = len(noise), noise.device
        self.noise = noise.detach().clone()
        self.best_iteration = torch.zeros(images, dtype=torch.long, device=device)
        self.active = torch.ones(images, dtype=torch.bool, device=device)
        self._best = torch.full((images,), -torch.inf, device=device)
        self._why = torch.zeros(images, dtype=torch.long, device=device)
        self._target, self._patience = target, patience
        self._values: list[Tensor] = []
        self._totals: list[Tensor] = []

    @torch.no_grad()
    def note(self, number: int, noise: Tensor, values: Tensor, total: Tensor) -> None:
        """Take in an iteration's noise (B, ...), rewards (R, B) and total (B,)."""
        shown = torch.where(self.active, values, torch.nan)
        self._values.append(shown)
        self._totals.append(torch.where(self.active, total, torch.nan))
        better = self.active & total.isfinite() & (total > self._best)
        self._best = torch.where(better, total, self._best)
        self.best_iteration = torch.where(better, number, self.best_iteration)
        self.noise = torch.where(by_image(better, noise), noise, self.noise)
        if self._target is not None:
            self._stop(self._best >= self._target, Stopped.TARGET)
        if self._patience is not None:
            self._stop(number - self.best_iteration >= self._patience, Stopped.PLATEAU)

    def stop_where_not_finite(self, values: Tensor) -> None:
        """Go no further with images whose total (B,) or gradient (B, ...) says nothing."""
        self._stop(~values.reshape(len(values), -1).isfinite().all(dim=1), Stopped.NOT_FINITE)

    def all_stopped(self) -> bool:
        """Whether nothing is left to do. Only where images may stop early is the host made to wait for the answer."""
        may_stop = self._target is not None or self._patience is not None
        return may_stop and not bool(self.active.any())

    def curves(self) -> Tensor:
        """(iterations, R, B) on the CPU; NaN where an image was stopped before."""
        return torch.stack(self._values).cpu()

    def totals(self) -> Tensor:
        """(iterations, B) on the CPU, likewise."""
        return torch.stack(self._totals).cpu()

    def reasons(self) -> tuple[Stopped, ...]:
        """Why each image was left."""
        return tuple(_REASONS[why] for why in self._why.tolist())

    def _stop(self, images: Tensor, why: Stopped) -> None:
        stopping = self.active & images
        self._why = torch.where(stopping, _REASONS.index(why), self._why)
        self.active = self.active & ~images
