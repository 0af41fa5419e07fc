"""What a CLIP makes of images: CLIP score, and the features of other quality metrics.

The CLIP must be one that no method is guided or calibrated by: what a method optimises does not grade it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from latent_guard.bench.arrays import Floats, Pictures
from latent_guard.bench.world import SHIPPED_WORLD
from latent_guard.errors import InputError
from latent_guard.pipelines.vae import to_model_range
from latent_guard.zero_shot.classify import ImageTextModel

BATCH = 64
EMOJI_GRADER = "emoji-grader"


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


def open_grader(name: str, device: str = "cpu") -> PictureCLIP:
    """The CLIP that grades: ``emoji-grader``, the embedded world's, or open_clip's ``MODEL:PRETRAINED`` and the like.

    Raises:
        InputError: there is no such CLIP.
        CheckpointError: its weights are not there, or damaged.
    """
    from latent_guard.zero_shot.pixel_clip import from_open_clip, is_open_clip

    if name == EMOJI_GRADER:
        clip = SHIPPED_WORLD.grader(device)
        return PictureCLIP(clip, f"{EMOJI_GRADER} {clip.fingerprint()}", clip.config.vision.size, device)
    if is_open_clip(name):
        found = from_open_clip(name, device)
        return PictureCLIP(found.model, found.name, found.side, device)
    raise InputError(
        f"grader: {name!r} is neither {EMOJI_GRADER} nor open_clip's MODEL:PRETRAINED or hf-hub:owner/name"
    )


def clip_scores(pictures: Floats, prompts: Floats) -> Floats:
    """(N,): 100 max(cos, 0) of unit features, both (N, D), row by row.

    CLIPScore (Hessel et al. 2021, equation 1) with the factor 100 that tables of text-to-image models use, not 2.5.
    """
    cosines: Floats = np.einsum("nd,nd->n", pictures, prompts)
    return 100.0 * np.maximum(cosines, 0.0)


def _array(chunks: Sequence[Tensor]) -> Floats:
    return torch.cat(list(chunks)).double().cpu().numpy() if chunks else np.zeros((0, 0))
