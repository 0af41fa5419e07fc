"""A VAE's two ways, between pictures and raw latents, in a precision in which it does not overflow."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.errors import UnsupportedPipelineError

MID_GRAY = 128
# Classes that encode videos (B, 3, T, H, W) only; SVD's encodes pictures.
_VIDEO_MODELS = ("Wan", "QwenImage", "QwenImage21", "HunyuanVideo", "HunyuanVideo15", "CogVideoX", "Mochi", "LTXVideo")
_OF_VIDEOS = tuple(f"AutoencoderKL{name}" for name in (*_VIDEO_MODELS, "LTX2Video", "Magvit", "Cosmos", "MiniMaxH3"))
# Classes whose pixels are normalised by the numbers of ImageNet's, where all others' are in [-1, 1].
_BY_IMAGENET = ("AutoencoderKLMiniMaxH3",)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def to_model_range(pictures: Tensor) -> Tensor:
    """uint8 pictures as float32 in [-1, 1], which is what VAEs and image towers take."""
    return pictures.float() / 127.5 - 1


def to_pictures(images: Tensor) -> Tensor:
    """The opposite: float [-1, 1] as uint8 [0, 255]; what lies outside is cut off."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


@contextmanager
def without_overflow(vae: Any) -> Iterator[None]:
    """The VAE in float32 where its own config says that half precision overflows; pipelines do the same."""
    own = vae.dtype
    if not (own == torch.float16 and vae.config.get("force_upcast", False)):
        yield
        return
    vae.to(torch.float32)
    try:
        yield
    finally:
        vae.to(own)


@torch.no_grad()
def encode(vae: Any, pictures: Tensor, device: torch.device | str | None = None) -> Tensor:
    """Raw latents of pictures: the posterior's mode, so that no random number is drawn.

    Args:
        vae: of diffusers, of any class.
        pictures: (B, 3, H, W) uint8.
        device: where the VAE computes; by default where its weights lie.

    Returns:
        (B, C, h, w), float32, on that device.
    """
    images = _as_the_vae_sees(vae, to_model_range(pictures.to(device or vae.device)))
    if _is_rgba(vae):
        images = torch.cat([images, torch.ones_like(images[:, :1])], dim=1)
    with without_overflow(vae):
        encoded = vae.encode(_as_frames(vae, images).to(vae.dtype))
    if hasattr(encoded, "latent_dist"):
        mode: Tensor = encoded.latent_dist.mode()
    else:  # AutoencoderDC, AutoencoderTiny
        mode = encoded.latent if hasattr(encoded, "latent") else encoded.latents
    return without_frames(mode).float()


@torch.no_grad()
def decode(vae: Any, raw: Tensor) -> Tensor:
    """Pixels (B, 3, H, W), float32, of raw latents (B, C, h, w) on its device; about [-1, 1], and not cut off there."""
    with without_overflow(vae):
        pixels = _decoded(vae, raw)
    return pixels


def shown_pixels(vae: Any, raw: Tensor) -> Tensor:
    """Pixels (B, 3, H, W) in [-1, 1], float32, of raw latents (B, C, h, w); differentiable.

    The caller stands inside ``without_overflow``: weights must not change between this and the way back.
    """
    pixels = _decoded(vae, raw)
    # Shown as they would be on a screen; where they are cut off there, the gradient is not.
    return pixels + (pixels.clamp(-1, 1) - pixels).detach()


def _decoded(vae: Any, raw: Tensor) -> Tensor:
    pixels = without_frames(vae.decode(_as_frames(vae, raw.to(vae.dtype))).sample)
    return _as_people_see(vae, pixels[:, :3].float())  # of RGBA the colours


def _as_the_vae_sees(vae: Any, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] in the range that a VAE takes."""
    if type(vae).__name__ not in _BY_IMAGENET:
        return images
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (_IMAGENET_MEAN, _IMAGENET_STD))
    return ((images + 1) / 2 - mean) / std


def _as_people_see(vae: Any, images: Tensor) -> Tensor:
    """The opposite."""
    if type(vae).__name__ not in _BY_IMAGENET:
        return images
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (_IMAGENET_MEAN, _IMAGENET_STD))
    return (images * std + mean) * 2 - 1


def _as_frames(vae: Any, images: Tensor) -> Tensor:
    """Pictures or latents (B, C, H, W) as videos of one frame, (B, C, 1, H, W), for a VAE of videos."""
    return images[:, :, None] if type(vae).__name__ in _OF_VIDEOS else images


def without_frames(images: Tensor) -> Tensor:
    """Videos of one frame (B, C, 1, H, W) as pictures (B, C, H, W); anything else as it is."""
    return images[:, :, 0] if images.ndim == 5 and images.shape[2] == 1 else images


def _is_rgba(vae: Any) -> bool:
    return bool((vae.config.get("input_channels") or vae.config.get("in_channels")) == 4)


def device_of(pipe: Any) -> torch.device:
    """Where a pipeline computes.

    Raises:
        UnsupportedPipelineError: its VAE lies elsewhere, or has no weights, and nothing moves it.
    """
    device: torch.device = pipe._execution_device
    own: torch.device = pipe.vae.device
    is_moved = any(hasattr(part, hook) for part in pipe.vae.modules() for hook in ("_hf_hook", "_diffusers_hook"))
    if not is_moved and own.type != device.type:
        raise UnsupportedPipelineError(
            f"{type(pipe).__name__} computes on {device}, and its VAE lies on {own}; move it with pipe.to({device})"
        )
    if not is_moved and own.type == "meta":
        raise UnsupportedPipelineError(f"the VAE of this {type(pipe).__name__} has no weights yet; load them first")
    return device


def gray_latent(vae: Any, device: torch.device, size: int) -> Tensor:
    """The raw latent (C, 1, 1) of a mid-gray picture: the mean over the places of a size x size one."""
    picture = torch.full((1, 3, size, size), MID_GRAY, dtype=torch.uint8)
    return encode(vae, picture, device)[0].mean(dim=(1, 2), keepdim=True)


@dataclass(frozen=True)
class DecoderCall:
    """A call of ``vae.decode``, or of what stands in its place: ``latents`` are the first tensor that it is given."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    place: int | str | None

    @classmethod
    def of(cls, arguments: inspect.BoundArguments) -> DecoderCall:
        """The call with some bound arguments."""
        named: list[tuple[int | str, Any]] = [*enumerate(arguments.args), *arguments.kwargs.items()]
        place = next((name for name, value in named if isinstance(value, Tensor)), None)
        return cls(arguments.args, dict(arguments.kwargs), place)

    @property
    def latents(self) -> Tensor | None:
        """What is to be decoded; None where no tensor is given."""
        if self.place is None:
            return None
        given: Tensor = self.args[self.place] if isinstance(self.place, int) else self.kwargs[self.place]
        return given

    def made_with(self, decode: Callable[..., Any], latents: Tensor) -> Any:
        """The call of ``decode`` with other latents."""
        args = [latents if place == self.place else value for place, value in enumerate(self.args)]
        kwargs = {name: latents if name == self.place else value for name, value in self.kwargs.items()}
        return decode(*args, **kwargs)


def first_of_the_decoder(vae: Any) -> Any:
    """The module that computes first with what ``vae.decode`` is given."""
    convolution = getattr(vae, "post_quant_conv", None)
    return vae.decoder if convolution is None else convolution
