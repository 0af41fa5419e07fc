"""The shape of a Latent-CLIP, as plain data.

Every dimension has a limit, about twice that of the largest CLIP that is known (EVA-CLIP-18B) or more: a config comes
with untrusted weights, and decides how much memory is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from latent_guard.bounds import require_whole
from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.latent_clip.adapter import AdapterConfig
from latent_guard.latent_clip.latent_space import MAX_CHANNELS, LatentSpace

MAX = {
    "channels": MAX_CHANNELS,
    "size": 4_096,
    "patch_size": 1_024,
    "width": 16_384,
    "layers": 128,
    "heads": 256,
    "context_length": 4_096,
    "vocab_size": 1_000_000,
    "embed_dim": 16_384,
}


@dataclass(frozen=True)
class VisionConfig:
    """The image tower: a vision transformer over latents (channels, size, size), in latent positions not pixels."""

    channels: int
    size: int
    patch_size: int
    width: int
    layers: int
    heads: int

    def __post_init__(self) -> None:
        _check(self, "vision")
        if self.size % self.patch_size:
            raise InputError(f"vision: size {self.size} is not a multiple of patch_size {self.patch_size}")


@dataclass(frozen=True)
class TextConfig:
    """The text tower: a causal transformer, pooled at the end token."""

    context_length: int
    vocab_size: int
    width: int
    layers: int
    heads: int

    def __post_init__(self) -> None:
        _check(self, "text")


@dataclass(frozen=True)
class LatentCLIPConfig:
    """A whole Latent-CLIP.

    Attributes:
        embed_dim: dimension of the space that both towers map into.
        latent_space: whose raw latents the model reads.
        reads_noise_level: whether the image tower is told how noisy its latents were (one more input channel).
        quick_gelu: whether both towers have OpenAI's faster approximation of the GELU, x sigmoid(1.702 x).
        adapter: what turns them into the latents that the image tower was trained on, where these are another VAE's.
    """

    embed_dim: int
    vision: VisionConfig
    text: TextConfig
    latent_space: LatentSpace
    reads_noise_level: bool
    quick_gelu: bool = False
    adapter: AdapterConfig | None = None

    def __post_init__(self) -> None:
        require_whole("embed_dim", self.embed_dim, 1, MAX["embed_dim"])
        if self.adapter is not None and self.adapter.reads != self.latent_space:
            raise InputError(f"adapter: it reads {self.adapter.reads}, and the model {self.latent_space}")
        if self.vision.channels != self.tower_space.channels:
            raise InputError(
                f"vision: channels is {self.vision.channels}, but latents of {self.tower_space.name} "
                f"have {self.tower_space.channels}"
            )

    @property
    def tower_space(self) -> LatentSpace:
        """Whose raw latents the image tower was trained on."""
        return self.latent_space if self.adapter is None else self.adapter.gives

    @property
    def pixels(self) -> int:
        """Pixels along one side of the square images that the image tower was trained on."""
        return self.vision.size * self.tower_space.factor

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dicts, as ``from_dict`` and JSON take them."""
        data = {**asdict(self), "latent_space": self.latent_space.to_dict()}
        if not self.quick_gelu:
            del data["quick_gelu"]  # files and fingerprints of models without the one or the other stay as they were
        if self.adapter is None:
            del data["adapter"]
        else:
            data["adapter"] = self.adapter.to_dict()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LatentCLIPConfig:
        """The opposite of ``to_dict``.

        Raises:
            InputError: an unknown or missing key, or a value of the wrong type.
        """
        return build(cls, data, "model config")


def _check(config: VisionConfig | TextConfig, where: str) -> None:
    for name, value in asdict(config).items():
        require_whole(f"{where}: {name}", value, 1, MAX[name])
    if config.width % config.heads:
        raise InputError(f"{where}: width {config.width} is not a multiple of heads {config.heads}")
