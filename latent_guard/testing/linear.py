"""A Latent-CLIP, bank and guard whose score of an image, and its gradient, are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from latent_guard.conformance.known import embedding as embedding
from latent_guard.conformance.known import linear_bank as linear_bank
from latent_guard.guidance.guard import LatentGuard
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.testing.pipelines import CHANNELS, SIDE

if TYPE_CHECKING:
    from latent_guard.guidance.audit import AuditLog
    from latent_guard.guidance.policy_file import AnyPolicy
    from latent_guard.latent_clip.model import LatentCLIP

SPACE = LatentSpace("AutoencoderKL", channels=CHANNELS, factor=4, scaling_factor=0.5)  # of ``tiny_pipeline()``


class LinearLatentCLIP(nn.Module):
    """A Latent-CLIP whose score of a raw latent, against ``linear_bank``, is its mean along ``direction``."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(latent_space=SPACE)
        self.direction = nn.Parameter(torch.randn(CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(7)))
        self.levels_told: list[float] = []

    def score(self, raw: Tensor) -> Tensor:
        """(B,) of raw latents (B, 4, 8, 8)."""
        return (raw * self.direction).mean(dim=(1, 2, 3))

    def encode_latents(self, latents: Tensor, noise_level: float | None = None, normalize: bool = False) -> Tensor:
        """As of a Latent-CLIP; the noise levels that it was told are kept in ``levels_told``."""
        assert noise_level is not None
        self.levels_told.append(noise_level)
        return embedding(self.score(latents))

    def fingerprint(self) -> str:
        """That of ``linear_bank``."""
        return "linear"


class BrokenLatentCLIP(LinearLatentCLIP):
    """One that raises an error, or whose scores are not finite."""

    def __init__(self, *, error: Exception | None = None, value: float = float("nan")) -> None:
        super().__init__()
        self._error, self._value = error, value

    def score(self, raw: Tensor) -> Tensor:
        """Raises the error, or gives the value."""
        if self._error is not None:
            raise self._error
        return super().score(raw) * 0 + self._value


def linear_guard(
    threshold: float,
    policy: AnyPolicy = "safe",
    model: LinearLatentCLIP | None = None,
    audit: AuditLog | None = None,
) -> LatentGuard:
    """A guard of every tiny pipeline: an image is unsafe from ``threshold`` on, and scores lie near 0."""
    return LatentGuard(cast("LatentCLIP", model or LinearLatentCLIP()), linear_bank(threshold), policy, audit=audit)
