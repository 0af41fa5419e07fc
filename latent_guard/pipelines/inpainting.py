"""Inpainting with an ordinary UNet: after every `step`, the pipeline restores the picture outside the mask."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from latent_guard.errors import GuardError
from latent_guard.pipelines.hook import around
from latent_guard.pipelines.layouts import Layout


class BlendedLayout(Layout):
    """SDXL inpainting: the final latents are (1 - mask) * original + mask * what the last `step` returned.

    Mask and original are the very tensors that the pipeline's own `prepare_mask_latents` and `prepare_latents` gave
    it. A UNet made for inpainting (9 channels) reads them instead, and nothing is put back.
    """

    def __init__(self, pipe: Any, channels: int) -> None:
        super().__init__(pipe, channels)
        self._mask: Tensor | None = None  # (B, 1, H, W), or (2 * B, ...) under classifier-free guidance
        self._original: Tensor | None = None

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

    def withhold(self, images: Tensor) -> None:
        if self._mask is None:
            return
        # In place, as the pipeline holds this tensor: all of a withheld image is to come from the neutral latent.
        rows = images.repeat(len(self._mask) // len(images)).to(self._mask.device)
        with torch.inference_mode(self._mask.is_inference()):
            self._mask[rows] = 1.0
