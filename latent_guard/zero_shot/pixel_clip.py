"""Any CLIP of open_clip as the pixel twin: what a Latent-CLIP is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize as to_unit_length

from latent_guard.errors import CheckpointError, InputError
from latent_guard.zero_shot.classify import ImageTextModel


@dataclass(frozen=True, eq=False)
class PixelTwin:
    """A CLIP on pixels in [-1, 1], what users call it, and the pixels along one side of the square that it reads."""

    model: ImageTextModel
    name: str
    side: int


class PixelCLIP(nn.Module):
    """A model of open_clip behind the interface of a Latent-CLIP: its latents are pixels in [-1, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, clip: Any, tokenizer: Any) -> None:
        """``clip`` as open_clip makes it: it says what mean and deviation its pixels are to have."""
        super().__init__()
        self.clip, self.tokenizer = clip, tokenizer
        for name in ("mean", "std"):
            values = torch.tensor(clip.visual.preprocess_cfg[name]).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def encode_latents(
        self, latents: Tensor, noise_level: float | Tensor | None = None, normalize: bool = False
    ) -> Tensor:
        """Embeddings (B, D) of pixels (B, 3, side, side) in [-1, 1]; a noise level is ignored."""
        features: Tensor = self.clip.encode_image(((latents + 1) / 2 - self.mean) / self.std)
        return to_unit_length(features, dim=-1) if normalize else features

    def encode_text(self, texts: Sequence[str], normalize: bool = False) -> Tensor:
        """Embeddings (B, D)."""
        features: Tensor = self.clip.encode_text(self.tokenizer(list(texts)).to(self.mean.device))
        return to_unit_length(features, dim=-1) if normalize else features


def from_open_clip(name: str, device: str) -> PixelTwin:
    """``MODEL:PRETRAINED`` of open_clip, such as ``ViT-B-16:datacomp_xl_s13b_b90k`` or ``ViT-B-16:weights.pt``.

    Raises:
        InputError: open_clip knows no such model.
        CheckpointError: its weights are unknown, or cannot be read or downloaded.
    """
    import open_clip

    architecture, _, weights = name.partition(":")
    if architecture not in open_clip.list_models() or not weights:
        raise InputError(f"open_clip has no model {name!r}; give MODEL:PRETRAINED of open_clip.list_pretrained()")
    try:
        clip: Any = open_clip.create_model(architecture, pretrained=weights, weights_only=True)
    except Exception as error:  # open_clip, torch and the hub client raise unrelated types for missing weights
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"cannot load open_clip's {name}; check its name and file ({reason})") from error
    size = clip.visual.image_size
    side = int(size if isinstance(size, int) else size[0])
    return PixelTwin(PixelCLIP(clip, open_clip.get_tokenizer(architecture)).to(device).eval(), name, side)
