"""Any CLIP of open_clip: a pixel CLIP to compare a Latent-CLIP with, or what the training of one can start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize as to_unit_length

from latent_guard.errors import CheckpointError, InputError, reason_of
from latent_guard.hub_access import obstacle
from latent_guard.zero_shot.classify import ImageTextModel

_HUB = "hf-hub"
_SCHEMES = (_HUB, "local-dir")  # of open_clip's own names, which say themselves where the weights are


@dataclass(frozen=True, eq=False)
class PixelCLIP:
    """A CLIP on pixels in [-1, 1], its name, and the pixels along one side of the square that it reads."""

    model: ImageTextModel
    name: str
    side: int


class OpenCLIP(nn.Module):
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

    @property
    def logit_scale(self) -> Tensor:
        """The natural logarithm of what cosines are multiplied with, as a Latent-CLIP has it."""
        scale: Tensor = self.clip.logit_scale
        return scale

    def encode_text(self, texts: Sequence[str], normalize: bool = False) -> Tensor:
        """Embeddings (B, D)."""
        features: Tensor = self.clip.encode_text(self.tokenizer(list(texts)).to(self.mean.device))
        return to_unit_length(features, dim=-1) if normalize else features


def is_open_clip(source: str) -> bool:
    """Whether a source is one of open_clip's names (``load_open_clip``), and neither a folder nor a bare hub id."""
    return ":" in source and not Path(source).is_dir()


def from_open_clip(name: str, device: str) -> PixelCLIP:
    """A CLIP that ``load_open_clip`` loads, as the pixel CLIP; raises as it does."""
    import open_clip

    clip = load_open_clip(name)
    size = clip.visual.image_size
    side = int(size if isinstance(size, int) else size[0])
    tokenizer = open_clip.get_tokenizer(architecture_of(name))
    return PixelCLIP(OpenCLIP(clip, tokenizer).to(device).eval(), name, side)


def load_open_clip(name: str) -> Any:
    """A CLIP of open_clip on the CPU; of a pickled file it reads nothing but tensors.

    Args:
        name: ``MODEL:PRETRAINED``, such as ``ViT-B-16:datacomp_xl_s13b_b90k`` or ``ViT-B-16:weights.pt``; or
            ``hf-hub:owner/name``, or ``local-dir:folder`` of a model that open_clip saved there.

    Raises:
        InputError: open_clip knows no such model.
        CheckpointError: its weights are unknown, or cannot be read or downloaded.
    """
    import open_clip

    architecture = architecture_of(name)
    own = architecture == name
    weights = name.partition(":")[2]
    if not weights or not (own or architecture in open_clip.list_models()):
        raise InputError(f"open_clip has no model {name!r}; give MODEL:PRETRAINED of open_clip.list_pretrained()")
    tag = {} if own else open_clip.get_pretrained_cfg(architecture, weights)  # of a file nothing is known
    try:
        return open_clip.create_model(
            architecture,
            pretrained=None if own else weights,
            force_quick_gelu=bool(tag.get("quick_gelu")),  # else open_clip only warns that the weights want it
            require_pretrained=True,  # else it would go on with random ones
            weights_only=True,
        )
    except Exception as error:  # open_clip, torch and the hub client raise unrelated types for missing weights
        of_hub = architecture.startswith(f"{_HUB}:")
        why = obstacle(error, weights) if of_hub else f"check its name and file ({reason_of(error)})"
        raise CheckpointError(f"cannot load open_clip's {name}: {why}") from error


def architecture_of(name: str) -> str:
    """The architecture of such a name, as open_clip's own functions take it."""
    before = name.partition(":")[0]
    return name if before in _SCHEMES else before
