"""A pipeline's latents as its ``scheduler.step`` carries them, and as (B, C, H, W): packing, blending and grids.

Those of videos are (B, C, T, H, W) wherever pictures' are (B, C, H, W).

Shapes: as in ``families``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from latent_guard.errors import GuardError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.families import Family, denoiser_of
from latent_guard.pipelines.hook import around, around_call
from latent_guard.pipelines.modular import is_modular


class Layout:
    """The layout of one pipeline's latents, by its family's row."""

    def __init__(self, pipe: Any, family: Family, space: LatentSpace) -> None:
        """The layout of a pipeline whose latents are of ``space``, that of its family under its VAE."""
        self.pipe = pipe
        self.family = family
        self._space = space
        self._grid = (0, 0)  # rows and columns of tokens, which do not tell height from width
        self.stepped: torch.Size | None = None  # the shape of the sample of the latest step of pictures
        self._state: Any = None  # of a modular pipeline's call, whose blocks write into it
        self._mask: Tensor | None = None  # as the pipeline blends with it; twice under classifier-free guidance
        self._original: Tensor | None = None

    @contextmanager
    def following(self) -> Iterator[None]:
        """The block in which the layout reads from the pipeline's calls what ``step`` does not tell it."""
        tokens = self.family.has_tokens
        with ExitStack() as stack:
            if is_modular(self.pipe):
                stack.enter_context(around_call(self.pipe._blocks, self._run_blocks))
            elif tokens or self.family.blend is not None:
                stack.enter_context(around(self.pipe, self.family.sized_by, self._prepare))
            if self.family.blend is not None:
                stack.enter_context(around(self.pipe, "prepare_mask_latents", self._prepare_mask))
            try:
                yield
            finally:
                self._mask = self._original = None

    def _run_blocks(self, blocks: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
        pipe, state = call.args[1:3]
        if pipe is not self.pipe:
            return original(*call.args, **call.kwargs)
        self._state = state
        try:
            return original(*call.args, **call.kwargs)
        finally:
            self._state = None

    def _prepare(self, pipe: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
        if self.family.has_tokens:
            self.of_size(int(call.arguments["height"]), int(call.arguments["width"]))
        prepared = original(*call.args, **call.kwargs)
        if self.family.blend is not None and self._blends():
            self._original = prepared[self.family.blend]
        return prepared

    def _prepare_mask(self, pipe: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
        prepared = original(*call.args, **call.kwargs)
        self._mask = prepared if isinstance(prepared, Tensor) else prepared[0]
        return prepared

    def _blends(self) -> bool:
        """True for the first of what the family's denoisers read; others are given mask and original instead."""
        times, more = self.family.reads[0]
        own = times * self._space.channels * self.family.patch**2 + more
        return bool(denoiser_of(self.pipe).config[self.family.reads_from] == own)

    def values(self) -> dict[str, Any]:
        """What is in the state of a modular pipeline's call; nothing where there is none."""
        return {} if self._state is None else dict(self._state.values)

    def unpack(self, latents: Tensor) -> Tensor:
        """The latents as the space's pipeline latents, (B, C p p, H/p, W/p) with its p, or those of videos.

        Raises:
            GuardError: they are of another shape.
        """
        if self._state is not None and self.family.has_tokens:
            self.of_size(self._state.get("height") or 0, self._state.get("width") or 0)
        if self.family.axes == "nd":
            latents = latents[None]
        expected = self._expected(latents)
        if tuple(latents.shape[1:]) != expected:
            raise GuardError(
                f"expected latents of shape (B, {', '.join(map(str, expected))}), got {tuple(latents.shape)}; "
                "let the pipeline prepare its latents"
            )
        axes = self.family.axes
        if axes in ("bnd", "nd"):
            frames = (-1,) if self.family.video else ()
            latents = latents.transpose(1, 2).unflatten(2, (*frames, *self._grid))
        else:
            latents = latents.movedim(axes.index("c"), 1)
            latents = latents[:, :, 0] if "t" in axes and not self.family.video else latents
        if self.family.channels_last:
            latents = latents.unflatten(1, (-1, self._space.channels)).transpose(1, 2).flatten(1, 2)
        if self.family.times:
            latents = latents / self._times
        return _repatched(latents, self.family.patch, self._space.patch)

    def images(self, sample: Tensor) -> int:
        """How many pictures or videos are in what a step is given."""
        return 1 if self.family.axes == "nd" else len(sample)

    def steps_sound(self, sample: Tensor) -> bool:
        """True if what a copy of the pipeline's scheduler steps is sound, which has not the shape of pictures."""
        return self.family.sound and self.stepped not in (None, sample.shape)

    def of_size(self, height: int, width: int) -> Layout:
        """This layout, for pictures of so many pixels."""
        side = self._space.factor * self.family.patch
        self._grid = height // side, width // side
        return self

    def unpack_output(self, latents: Tensor) -> Tensor:
        """The pipeline latents of what ``output_type="latent"`` hands out, where that is not raw."""
        if self.family.returns == "tokens":
            in_places: Tensor = latents.transpose(1, 2).unflatten(2, (-1, *self._grid))
            return in_places
        return latents if self.family.returns == "normalised" else self.unpack(latents)

    def pack_output(self, latents: Tensor) -> Tensor:
        """The inverse of ``unpack_output``."""
        if self.family.returns == "tokens":
            return latents.flatten(2).transpose(1, 2)
        return latents if self.family.returns == "normalised" else self.pack(latents)

    def output_to_raw(self, latents: Tensor) -> Tensor:
        """What ``output_type="latent"`` hands out as raw latents (B, C, H, W), float32."""
        own = latents.float()
        return own if self.family.returns == "raw" else self._space.to_raw(self.unpack_output(own))

    def pack(self, latents: Tensor) -> Tensor:
        """The inverse of ``unpack``."""
        latents = _repatched(latents, self._space.patch, self.family.patch)
        if self.family.times:
            latents = latents * self._times
        if self.family.channels_last:
            latents = latents.unflatten(1, (self._space.channels, -1)).transpose(1, 2).flatten(1, 2)
        axes = self.family.axes
        if axes in ("bnd", "nd"):
            tokens = latents.flatten(2).transpose(1, 2).contiguous()
            return tokens if axes == "bnd" else tokens[0]
        latents = latents[:, :, None] if "t" in axes and not self.family.video else latents
        return latents.movedim(1, axes.index("c"))

    @property
    def _times(self) -> float:
        return float(self.pipe.scheduler.config[self.family.times])

    def _expected(self, latents: Tensor) -> tuple[int, ...]:
        """The shape that an image's latents must have, as far as it is known."""
        carried: int = self._space.channels * self.family.patch**2
        axes = self.family.axes
        if axes in ("bnd", "nd"):
            rows, columns = self._grid
            frames = max(1, latents.shape[1] // max(1, rows * columns)) if self.family.video else 1
            return frames * rows * columns, carried
        given = dict(zip(axes, latents.shape, strict=False)) if latents.ndim == len(axes) else {}
        known = {"c": carried} if self.family.video else {"c": carried, "t": 1}
        return tuple(known.get(axis, given.get(axis, 0)) for axis in axes[1:])

    def final(self, output: Any) -> Tensor:
        """The latents, unpacked, that the pipeline decodes, from what its last ``step`` returned.

        Where the pipeline puts an original back, they are (1 - mask) * original + mask * what ``step`` returned.
        """
        decoded = self.family.decoded
        place = int(len(self.pipe.scheduler.timesteps) == 1) if decoded == "1 if one step" else decoded
        latents: Tensor = output[place]
        if self.family.blend is None:
            return self.unpack(latents)
        if self._mask is None:
            raise GuardError("the pipeline's mask is unknown; let the pipeline prepare it")
        if self._original is None:
            return self.unpack(latents)
        mask, original = self._mask[: len(latents)], self._original
        if original.ndim != latents.ndim:
            original = self.pack(original)
        return self.unpack((1 - mask) * original + mask * latents)

    def mask_images(self, images: Tensor) -> None:
        """Have the pipeline put nothing of an original back into the images (B,) that are masked."""
        if self._mask is None:
            return
        # In place, as the pipeline holds this tensor: all of a masked image is to come from the neutral latent.
        rows = images.repeat(len(self._mask) // len(images)).to(self._mask.device)
        with torch.inference_mode(self._mask.is_inference()):
            self._mask[rows] = 1.0


def _repatched(latents: Tensor, own: int, wanted: int) -> Tensor:
    """Latents of patches of ``own`` positions a side as those of ``wanted``."""
    if own == wanted:
        return latents
    stills = latents.transpose(1, 2) if latents.ndim == 5 else latents  # (B, T, C, H, W)
    stills = pixel_shuffle(stills, own // wanted) if own > wanted else pixel_unshuffle(stills, wanted // own)
    return stills.transpose(1, 2) if latents.ndim == 5 else stills
