"""One shape for every batch of every model of a guarded pipeline."""

from __future__ import annotations

import functools
from typing import Any

from latent_guard.serving.fixed_rows import FixedRows

_DENOISERS = ("unet", "transformer", "transformer_2")
_TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


class BatchShape:
    """Has a pipeline's models, and the guard's, compute batches of one shape, however many images are drawn."""

    def __init__(self, pipe: Any, latent_clip: Any) -> None:
        """Put ``FixedRows`` before the models; until ``fix`` they compute what they are given."""
        self.denoisers = [part for name in _DENOISERS if (part := getattr(pipe, name, None)) is not None]
        encoders = [part for name in _TEXT_ENCODERS if (part := getattr(pipe, name, None)) is not None]
        self._denoising = [_put_before(part, "forward") for part in self.denoisers]
        self._others = [_put_before(part, "forward") for part in encoders]
        self.looks = _put_before(latent_clip, "encode_latents")
        self._others += [_put_before(pipe.vae, "decode"), self.looks]
        self._rows_an_image = [1] * len(self._denoising)
        self.fix(None)

    def learn(self) -> None:
        """Take note of how many rows a denoiser has for one image, which was just drawn: two under guidance."""
        self._rows_an_image = [max(1, part.seen) for part in self._denoising]

    def fix(self, images: int | None) -> None:
        """From now on each model's batches have one shape, of so many images; None: as many as are asked for."""
        self.images = images
        for part, rows in zip(self._denoising, self._rows_an_image, strict=True):
            part.rows = None if images is None else images * rows
        for part in self._others:
            part.rows = images


def _put_before(owner: Any, name: str) -> FixedRows:
    found = getattr(owner, name)
    if isinstance(found, FixedRows):
        return found
    own = FixedRows(found)
    functools.update_wrapper(own, found)  # pipelines inspect what a model takes
    object.__setattr__(owner, name, own)
    return own
