"""A pixel twin that reads latents through the pipeline's decoder: what guidance in pixels has to pay for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.vae import shown_pixels


@dataclass(frozen=True)
class Reads:
    """What a guard asks of a model's config."""

    latent_space: LatentSpace


class DecodedTwin(nn.Module):
    """Stands where a Latent-CLIP stands; every look decodes, every gradient goes back through the decoder."""

    def __init__(self, twin: LatentCLIP, vae: Any) -> None:
        super().__init__()
        self.twin = twin
        self.config = Reads(LatentSpace.of_vae(vae))
        self._vae = (vae,)  # the pipeline's: in a tuple it is no part of this module

    def encode_latents(
        self, latents: Tensor, noise_level: float | Tensor | None = None, normalize: bool = False
    ) -> Tensor:
        """Embeddings (B, D) of raw latents (B, C, H, W); differentiable."""
        (vae,) = self._vae
        return self.twin.encode_latents(shown_pixels(vae, latents), noise_level, normalize=normalize)

    def encode_text(self, texts: Sequence[str], normalize: bool = False) -> Tensor:
        """Embeddings (B, D)."""
        return self.twin.encode_text(texts, normalize=normalize)

    def fingerprint(self) -> str:
        """The twin's: banks of the twin are banks of this."""
        return self.twin.fingerprint()
