"""What a CLIP makes of pictures: the material of quality metrics.

The CLIP must be one that no method is guided or calibrated by: what a method optimises does not grade it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from latent_guard.bench.judges.emoji_judge import Pictures
from latent_guard.pipelines.vae import to_model_range
from latent_guard.zero_shot.classify import ImageTextModel

BATCH = 64
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PictureCLIP:
    """A CLIP on pixels in [-1, 1], the side of the square that it reads, and a name that is recorded."""

    model: ImageTextModel
    name: str
    side: int
    device: str = "cpu"

    @torch.no_grad()
    def of_pictures(self, pictures: Pictures) -> Floats:
        """Unit features (N, D) of pictures (N, 3, H, W)."""
        chunks = (pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH))
        return _array([self.model.encode_latents(self._pixels(chunk), 0.0, normalize=True) for chunk in chunks])

    @torch.no_grad()
    def of_prompts(self, prompts: Sequence[str]) -> Floats:
        """Unit features (N, D)."""
        chunks = (list(prompts[start : start + BATCH]) for start in range(0, len(prompts), BATCH))
        return _array([self.model.encode_text(chunk, normalize=True) for chunk in chunks])

    def _pixels(self, pictures: Pictures) -> Tensor:
        pixels = to_model_range(torch.from_numpy(pictures).to(self.device))
        if pixels.shape[-2:] == (self.side, self.side):
            return pixels
        return interpolate(pixels, (self.side, self.side), mode="bicubic", antialias=True).clamp(-1, 1)


def _array(chunks: Sequence[Tensor]) -> Floats:
    return torch.cat(list(chunks)).double().cpu().numpy() if chunks else np.zeros((0, 0))
