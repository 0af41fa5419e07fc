"""How a pipeline lays out its latents inside ``scheduler.step``, and which of them it decodes in the end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from latent_guard.errors import GuardError
from latent_guard.pipelines.hook import around


class Layout:
    """Latents that already are (B, C, H, W); a pipeline that hands out what its last ``step`` returns first."""

    def __init__(self, pipe: Any, channels: int) -> None:
        self.pipe = pipe
        self.channels = channels

    @classmethod
    def channels_read(cls, channels: int) -> tuple[int, ...]:
        """How many channels a denoiser of this layout may read, for latents of so many."""
        return (channels,)

    def following(self) -> AbstractContextManager[object]:
        """The block in which the layout reads from the pipeline's calls what ``step`` does not tell it."""
        return nullcontext()

    def unpack(self, latents: Tensor) -> Tensor:
        """The latents as (B, C, H, W); ``GuardError`` for any other shape."""
        if latents.ndim != 4 or latents.shape[1] != self.channels:
            raise GuardError(f"expected latents of shape (B, {self.channels}, H, W), got {tuple(latents.shape)}")
        return latents

    def pack(self, latents: Tensor) -> Tensor:
        """The inverse of ``unpack``."""
        return latents

    def final(self, output: Any) -> Tensor:
        """The latents (B, C, H, W) that the pipeline decodes, from what its last ``step`` returned."""
        return self.unpack(output[0])

    def mask_images(self, images: Tensor) -> None:
        """Have the pipeline add nothing of its own to the images (B,) that are masked."""


class ConsistencyLayout(Layout):
    """A pipeline that decodes the second thing that its last ``step`` returns: the denoised latents."""

    def final(self, output: Any) -> Tensor:
        return self.unpack(output[1])


class OneStepLayout(Layout):
    """PixArt-alpha: a call of one step decodes the second thing that ``step`` returns, any other call the first."""

    def final(self, output: Any) -> Tensor:
        return self.unpack(output[len(self.pipe.scheduler.timesteps) == 1])


class PackedLayout(Layout):
    """FLUX.1: every 2 x 2 square of a latent (B, C, H, W) is one token of (B, H/2 * W/2, 4 * C).

    Tokens do not tell height from width, so these are read from the call of ``prepare_latents``.
    """

    def __init__(self, pipe: Any, channels: int) -> None:
        super().__init__(pipe, channels)
        self.grid = (0, 0)  # rows and columns of tokens

    @classmethod
    def channels_read(cls, channels: int) -> tuple[int, ...]:
        """Those of a token."""
        return (4 * channels,)

    def following(self) -> AbstractContextManager[object]:
        def prepare(pipe: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
            sides = (int(call.arguments[side]) // (2 * pipe.vae_scale_factor) for side in ("height", "width"))
            self.grid = next(sides), next(sides)
            return original(*call.args, **call.kwargs)

        return around(self.pipe, "prepare_latents", prepare)

    def unpack(self, latents: Tensor) -> Tensor:
        rows, columns = self.grid
        if latents.ndim != 3 or latents.shape[1:] != (rows * columns, 4 * self.channels):
            raise GuardError(
                f"expected packed latents of shape (B, {rows * columns}, {4 * self.channels}), "
                f"got {tuple(latents.shape)}; let the pipeline prepare its latents"
            )
        squares = latents.reshape(len(latents), rows, columns, self.channels, 2, 2)
        return squares.permute(0, 3, 1, 4, 2, 5).reshape(len(latents), self.channels, 2 * rows, 2 * columns)

    def pack(self, latents: Tensor) -> Tensor:
        batch, channels, height, width = latents.shape
        squares = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
        return squares.permute(0, 2, 4, 1, 3, 5).reshape(batch, height * width // 4, 4 * channels)


class BlendedLayout(Layout):
    """SDXL inpainting: the final latents are (1 - mask) * original + mask * what the last ``step`` returned.

    Mask and original are the very tensors that the pipeline's own ``prepare_mask_latents`` and ``prepare_latents`` gave
    it. A UNet made for inpainting (9 channels) reads them instead, and nothing is put back.
    """

    def __init__(self, pipe: Any, channels: int) -> None:
        super().__init__(pipe, channels)
        self._mask: Tensor | None = None  # (B, 1, H, W), or (2 * B, ...) under classifier-free guidance
        self._original: Tensor | None = None

    @classmethod
    def channels_read(cls, channels: int) -> tuple[int, ...]:
        """An ordinary UNet, or one that also reads the mask and the masked picture."""
        return (channels, 2 * channels + 1)

    @contextmanager
    def following(self) -> Iterator[None]:
        blends = self.pipe.unet.config.in_channels == self.channels

        def latents(_: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
            prepared = original(*call.args, **call.kwargs)
            self._original = prepared[-1] if blends else None
            return prepared

        def masks(_: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
            prepared = original(*call.args, **call.kwargs)
            self._mask = prepared[0]
            return prepared

        with around(self.pipe, "prepare_latents", latents), around(self.pipe, "prepare_mask_latents", masks):
            yield
        self._mask = self._original = None

    def final(self, output: Any) -> Tensor:
        latents = self.unpack(output[0])
        if self._mask is None:
            raise GuardError("the pipeline's mask is unknown; let the pipeline prepare it")
        if self._original is None:
            return latents
        mask = self._mask[: len(latents)]
        return (1 - mask) * self._original + mask * latents

    def mask_images(self, images: Tensor) -> None:
        if self._mask is None:
            return
        # In place, as the pipeline holds this tensor: all of a masked image is to come from the neutral latent.
        rows = images.repeat(len(self._mask) // len(images)).to(self._mask.device)
        with torch.inference_mode(self._mask.is_inference()):
            self._mask[rows] = 1.0
