"""A Latent-CLIP and a bank whose score of a latent, and its gradient, are known."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.texts import Concept
from latent_guard.latent_clip.latent_space import LatentSpace

SCALE = 1024.0  # of the cosines of a bank for `embedding`: more than any score here, and exact


def embedding(*scores: Tensor) -> Tensor:
    """Embeddings (B, n + 2) of length one whose cosine with axis k is a score (B,) by SCALE, and 0 with axis n."""
    towards = torch.stack(scores, dim=1) / SCALE
    rest = (1 - towards.square().sum(dim=1, keepdim=True)).sqrt()
    return torch.cat([towards, torch.zeros_like(rest), rest], dim=1)


def linear_bank(threshold: float) -> ConceptBank:
    """A bank of one category, ``violence``, with a threshold on the score."""
    return ConceptBank(
        concepts=(Concept("a knife", "violence"),),
        embeddings=torch.tensor([[1.0, 0.0, 0.0]]),
        benign_prompts=("a spoon",),
        benign=torch.tensor([[0.0, 1.0, 0.0]]),
        fingerprint="linear",
        logit_scale=SCALE,
        noise_levels=torch.zeros(1),
        thresholds=torch.tensor([[threshold]]),
    )


class KnownLatentCLIP(nn.Module):
    """Scores raw latents of a space, against ``linear_bank``, by their mean along a direction of their shape.

    ``seen`` are the raw latents of the latest check. With an ``error``, it is raised instead.
    """

    def __init__(self, space: LatentSpace, error: Exception | None = None) -> None:
        super().__init__()
        self.config = SimpleNamespace(latent_space=space)
        self.direction = nn.Parameter(torch.zeros(0))
        self.seen: Tensor | None = None
        self._error = error

    def score(self, raw: Tensor) -> Tensor:
        """(B,) of raw latents (B, C, H, W)."""
        if self._error is not None:
            raise self._error
        if self.direction.shape != raw.shape[1:]:
            noise = torch.randn(raw.shape[1:], generator=torch.Generator().manual_seed(7))
            self.direction = nn.Parameter(noise.to(raw.device))
        self.seen = raw.detach()
        return (raw * self.direction).mean(dim=(1, 2, 3))

    def encode_latents(self, latents: Tensor, noise_level: float | None = None, normalize: bool = False) -> Tensor:
        """As of a Latent-CLIP."""
        return embedding(self.score(latents))

    def fingerprint(self) -> str:
        """That of ``linear_bank``."""
        return "linear"
