"""How a pipeline lays out its latents inside `scheduler.step`, and which of them it decodes in the end."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from latent_guard.errors import GuardError
from latent_guard.pipelines.hook import around


class Layout:
    """Latents that already are (B, C, H, W); a pipeline that hands out what its last `step` returns first."""

    def __init__(self, pipe: Any, channels: int) -> None:
        self.pipe, self.channels = pipe, channels

    def following(self) -> AbstractContextManager[object]:
        """The block in which the layout reads from the pipeline's calls what `step` does not tell it."""
        return nullcontext()

    def unpack(self, latents: Tensor) -> Tensor:
        """The latents as (B, C, H, W); `GuardError` for any other shape."""
        if latents.ndim != 4 or latents.shape[1] != self.channels:
            raise GuardError(f"expected latents of shape (B, {self.channels}, H, W), got {tuple(latents.shape)}")
        return latents

    def pack(self, latents: Tensor) -> Tensor:
        """The inverse of `unpack`."""
        return latents

    def final(self, output: Any) -> Tensor:
        """The latents (B, C, H, W) that the pipeline decodes, from what its last `step` returned."""
        return self.unpack(output[0])

    def withhold(self, images: Tensor) -> None:
        """Have the pipeline add nothing of its own to the images (B,) that are withheld."""


class ConsistencyLayout(Layout):
    """A pipeline that decodes the second thing that its last `step` returns: the denoised latents."""

    def final(self, output: Any) -> Tensor:
        return self.unpack(output[1])


class OneStepLayout(Layout):
    """PixArt-alpha: a call of one step decodes the second thing that `step` returns, any other call the first."""

    def final(self, output: Any) -> Tensor:
        return self.unpack(output[len(self.pipe.scheduler.timesteps) == 1])


class PackedLayout(Layout):
    """FLUX.1: every 2 x 2 square of a latent (B, C, H, W) is one token of (B, H/2 * W/2, 4 * C).

    Tokens do not tell height from width, so these are read from the call of `prepare_latents`.
    """

    def __init__(self, pipe: Any, channels: int) -> None:
        super().__init__(pipe, channels)
        self.grid = (0, 0)  # rows and columns of tokens

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
