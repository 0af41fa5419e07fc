"""Latent spaces of the families of VAEs, and the map between pipeline latents and raw ones.

Shapes: B images, C latent channels, H and W latent positions, p positions along one side of a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from latent_guard.bounds import require_number, require_whole
from latent_guard.errors import InputError
from latent_guard.latent_clip.published_statistics import (
    QWEN21_MEAN,
    QWEN21_STD,
    WAN22_MEAN,
    WAN22_STD,
    WAN_MEAN,
    WAN_STD,
)
from latent_guard.latent_clip.vae_configs import numbers_of

if TYPE_CHECKING:
    from torch import Tensor

MAX_CHANNELS, MAX_FACTOR, MAX_PATCH = 1_024, 1_024, 16
MAX_SCALE = 1e6


@dataclass(frozen=True)
class LatentSpace:
    """One VAE family's latents.

    Attributes:
        name: of the VAE's class, for messages.
        channels: latent channels, C.
        factor: pixels along one side of a latent position.
        scaling_factor, shift_factor: pipeline latents are (raw - shift_factor) * scaling_factor, raw latents are
            what the VAE's encoder gives and its decoder takes (diffusers' ``vae.config``).
        patch: p: pipeline latents are patches of p x p raw positions, (B, C p p, H/p, W/p); 1 where they are not.
        mean, std: of each channel of pipeline latents, which then are (raw - shift_factor - mean) * scaling_factor
            / std; empty where a pipeline does not normalise by channel.
    """

    name: str
    channels: int
    factor: int
    scaling_factor: float = 1.0
    shift_factor: float = 0.0
    patch: int = 1
    mean: Sequence[float] = ()
    std: Sequence[float] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(self.mean))  # JSON has lists, and equal spaces must be equal
        object.__setattr__(self, "std", tuple(self.std))
        for name, most in (("channels", MAX_CHANNELS), ("factor", MAX_FACTOR), ("patch", MAX_PATCH)):
            require_whole(f"latent space {self.name}: {name}", getattr(self, name), 1, most)
        require_number(f"latent space {self.name}: scaling_factor", self.scaling_factor, 0, MAX_SCALE, exclusive=True)
        for name in ("shift_factor", "mean"):
            for value in self.mean if name == "mean" else (self.shift_factor,):
                require_number(f"latent space {self.name}: {name}", value, -MAX_SCALE, MAX_SCALE)
        for value in self.std:
            require_number(f"latent space {self.name}: std", value, 0, MAX_SCALE, exclusive=True)
        if not len(self.mean) == len(self.std) in (0, self.channels * self.patch**2):
            raise InputError(
                f"{self.name}: mean and std have {len(self.mean)} and {len(self.std)} values; "
                f"give one for each of the {self.channels * self.patch**2} channels of pipeline latents, or none"
            )

    def __str__(self) -> str:
        """The family, or the class where it is unknown, with the numbers that tell it from others."""
        family = self.family or self.name
        scaling = "" if self.scaling_factor == 1 else f", scaling {self.scaling_factor:g}"
        shift = "" if self.shift_factor == 0 else f", shift {self.shift_factor:g}"
        return f"{family} ({self.channels} channels, /{self.factor}{scaling}{shift})"

    @property
    def family(self) -> str:
        """The name under which the space was published, or "" for one of one's own."""
        return next((name for name, space in PUBLISHED.items() if self._is_of(space)), "")

    @property
    def served(self) -> str:
        """The pipelines whose latents are of this space, for people; "" where none are known."""
        return _SERVED.get(self.family, "")

    def to_raw(self, latents: Tensor, *, by_reciprocals: bool = False) -> Tensor:
        """Pipeline latents -> raw latents, in the same precision.

        ``by_reciprocals`` scales by those of the space's numbers, which then are what is rounded.
        """
        if self.std:
            std = _by_channel(self.std, latents)
            latents = latents / (1.0 / std) if by_reciprocals else latents * std
        inverse = 1.0 / self.scaling_factor
        raw = (inverse * latents if by_reciprocals else latents / self.scaling_factor) + self.shift_factor
        if self.mean:
            raw = raw + _by_channel(self.mean, raw)
        if self.patch == 1:
            return raw
        from torch.nn.functional import pixel_shuffle

        return pixel_shuffle(raw, self.patch)

    def from_raw(self, raw: Tensor) -> Tensor:
        """Raw latents -> pipeline latents; H and W must be multiples of p."""
        latents = raw
        if self.patch > 1:
            from torch.nn.functional import pixel_unshuffle  # in the order of FLUX.2's patches

            latents = pixel_unshuffle(raw, self.patch)
        if self.mean:
            latents = latents - _by_channel(self.mean, latents)
        latents = (latents - self.shift_factor) * self.scaling_factor
        return latents / _by_channel(self.std, latents) if self.std else latents

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without what only few spaces have: files and fingerprints of all others stay as they were."""
        given = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        absent = {"patch": 1, "mean": [], "std": []}
        return {key: value for key, value in given.items() if key not in absent or value != absent[key]}

    @classmethod
    def of_vae(cls, vae: Any, epsilon: float | None = None) -> LatentSpace:
        """The latent space of a VAE of diffusers, read from its config and named after its class.

        It has all numbers of the config; which of them a pipeline applies, its family says (``Family.space_of``).
        ``epsilon`` is what is added to the variances of FLUX.2's BatchNorm, by default the config's.

        Raises:
            UnsupportedPipelineError: an unknown class of VAE.
        """
        return cls(**numbers_of(vae, epsilon))

    def _is_of(self, published: LatentSpace) -> bool:
        theirs = (published.name, published.channels, published.factor, published.scaling_factor)
        same = (self.name, self.channels, self.factor, self.scaling_factor) == theirs
        if not same or (self.patch, self.shift_factor) != (published.patch, published.shift_factor):
            return False
        statistics_are_weights = published.patch > 1 and not published.mean
        return statistics_are_weights or (self.mean, self.std) == (published.mean, published.std)


# As published in `vae/config.json` of each family; FLUX.2's mean and std are weights of its VAE. Qwen-Image's encoder
# is Wan 2.1's.
PUBLISHED = {
    "SD 1.5": LatentSpace("AutoencoderKL", channels=4, factor=8, scaling_factor=0.18215),
    "SDXL": LatentSpace("AutoencoderKL", channels=4, factor=8, scaling_factor=0.13025),
    "SD3": LatentSpace("AutoencoderKL", channels=16, factor=8, scaling_factor=1.5305, shift_factor=0.0609),
    "FLUX.1": LatentSpace("AutoencoderKL", channels=16, factor=8, scaling_factor=0.3611, shift_factor=0.1159),
    "FLUX.2": LatentSpace("AutoencoderKLFlux2", channels=32, factor=8, patch=2),
    "Sana": LatentSpace("AutoencoderDC", channels=32, factor=32, scaling_factor=0.41407),
    "Wan 2.1": LatentSpace("AutoencoderKLWan", channels=16, factor=8, mean=WAN_MEAN, std=WAN_STD),
    "Qwen-Image": LatentSpace("AutoencoderKLQwenImage", channels=16, factor=8, mean=WAN_MEAN, std=WAN_STD),
    "Wan 2.2": LatentSpace("AutoencoderKLWan", channels=48, factor=16, mean=WAN22_MEAN, std=WAN22_STD),
    "Qwen-Image-2.1": LatentSpace("AutoencoderKLQwenImage21", channels=64, factor=16, mean=QWEN21_MEAN, std=QWEN21_STD),
    "CogView4": LatentSpace("AutoencoderKL", channels=16, factor=8),
    "HunyuanImage 2.1": LatentSpace("AutoencoderKLHunyuanImage", channels=64, factor=32, scaling_factor=0.75289),
    "HunyuanVideo": LatentSpace("AutoencoderKLHunyuanVideo", channels=16, factor=8, scaling_factor=0.476986),
    "HunyuanVideo 1.5": LatentSpace("AutoencoderKLHunyuanVideo15", channels=32, factor=16, scaling_factor=1.03682),
}
# By converters of diffusers and the class annotations of pipelines; the canary has the last word.
_SERVED = {
    "SD 1.5": "Stable Diffusion 1 and 2, PixArt-alpha, LCM, AnimateDiff, Stable Video Diffusion, Latte",
    "SDXL": "SDXL and its fine-tunes, Turbo and Lightning, Kolors, PixArt-Sigma, AuraFlow, HunyuanDiT, Lumina, OmniGen",
    "SD3": "Stable Diffusion 3 and 3.5",
    "FLUX.1": "FLUX.1 (dev, schnell, Kontext, Fill, Krea), Z-Image, Chroma, HiDream-I1, Lumina 2, Ovis, LongCat-Image",
    "FLUX.2": "FLUX.2 (dev, klein), FLUX.3, Ideogram 4, ERNIE-Image, FIBO 2",
    "Sana": "Sana, Sana-Sprint, PRX with a DC-AE",
    "Wan 2.1": "Wan 2.1 and 2.2 (14B), Cosmos-Predict2; Qwen-Image and its edits, Krea 2 and Nucleus share its encoder",
    "Qwen-Image": "Qwen-Image and its edits, Krea 2, Nucleus, Anima; Wan 2.1 shares its encoder",
    "Wan 2.2": "Wan 2.2 (5B), FIBO",
    "Qwen-Image-2.1": "Qwen-Image-2.1",
    "CogView4": "CogView4",
    "HunyuanImage 2.1": "HunyuanImage 2.1",
    "HunyuanVideo": "HunyuanVideo, FramePack, Kandinsky 5's videos",
    "HunyuanVideo 1.5": "HunyuanVideo 1.5",
}
PIXELS = LatentSpace("pixels", channels=3, factor=1)


def _by_channel(values: Sequence[float], latents: Tensor) -> Tensor:
    return latents.new_tensor(values).view(-1, *(1,) * (latents.ndim - 2))
