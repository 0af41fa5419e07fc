"""The gate at the decoder alone: for pipelines whose steps the guard does not know, all that it can judge.

What a pipeline makes pixels of passes ``vae.decode`` in raw latents, whichever class it is of. Nothing is seen on the
way, so nothing is steered or ended early.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor

from latent_guard.guidance.attachment import Block, free_models
from latent_guard.guidance.decode_watch import DecodeWatch
from latent_guard.guidance.fail_open import RefusalError
from latent_guard.pipelines.call import asks_for_latents, gives_latents
from latent_guard.pipelines.hook import around
from latent_guard.pipelines.images import images_of
from latent_guard.pipelines.modular import is_modular, named_arguments, require_only_pictures
from latent_guard.pipelines.vae import first_of_the_decoder

NOT_DECODED = (
    "this call decoded nothing, so that nothing of it was judged: its output is not handed out; ask for pictures, or "
    "attach the guard at the steps too"
)


class DecodeAttachment(Block[DecodeWatch]):
    """What ``guard.attach(pipe, gate="decode")`` gives."""

    def __init__(self, watch: DecodeWatch, before_call: Callable[[Mapping[str, Any]], None]) -> None:
        """Attach; ``InputError`` if the pipeline is guarded already."""
        self._before_call = before_call
        self._pipe = watch.decodes.pipe
        self._vae = self._pipe.vae
        super().__init__(self._pipe, watch)

    @contextmanager
    def _installed(self) -> Iterator[None]:
        watch = self._watch
        layer = first_of_the_decoder(self._vae).register_forward_pre_hook(watch.at_the_decoder)
        try:
            with around(self._vae, "decode", watch.decoding, methods_only=False) as in_place:
                self._in_place = in_place
                yield
        except BaseException:
            free_models(self._pipe)
            raise
        finally:
            layer.remove()

    def _call(self, pipe: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        watch = self._watch
        if pipe is not self._pipe:
            raise RefusalError("this is a copy of a guarded pipeline; attach the guard to it after the block")
        if watch.thread is not None:
            raise RefusalError("a guarded pipeline makes one call at a time; wait for the one that is under way")
        if is_modular(pipe):
            require_only_pictures(arguments)
        named = named_arguments(pipe, arguments)
        self._before_call(named)
        before = len(watch.verdicts)
        watch.thread = threading.get_ident()
        watch.shapes.clear()
        try:
            output = original(*arguments.args, **arguments.kwargs)
        finally:
            watch.thread = None
        if pipe.vae is not self._vae or not self._in_place():
            raise RefusalError("the VAE or its `decode` was replaced inside the guarded block; set it before attaching")
        if len(watch.verdicts) == before or gives_latents(arguments) or asks_for_latents(named):
            raise RefusalError(NOT_DECODED)
        self._require_judged(output, len(watch.verdicts) - before)
        return output

    def _require_judged(self, output: Any, judged: int) -> None:
        """Raise ``GuardError`` for more pictures than were judged, or for latents beside them."""
        modular = is_modular(self._pipe)
        values = _values(output)
        images = values[0] if modular else images_of(output)
        if len(images) > judged:
            raise RefusalError(f"the pipeline gave {len(images)} images, but the guard judged {judged}; discard them")
        sides = {tuple(shape[-2:]) for shape in self._watch.shapes}
        beside = [value for value in values if isinstance(value, Tensor) and (modular or value is not images)]
        like = any(value.ndim > 2 and tuple(value.shape[-2:]) in sides for value in beside)
        if like or (isinstance(images, Tensor) and not _has_colours(images)):
            raise RefusalError(
                "the call returns latents beside its pictures, which nothing masks; it is not handed out"
            )


def _has_colours(images: Tensor) -> bool:
    """True for pictures (B, 3, H, W), videos (B, T, 3, H, W) or (B, 3, T, H, W), and those with an alpha channel."""
    return bool({3, 4} & {*images.shape[1 : images.ndim - 2]})


def _values(output: Any) -> list[Any]:
    """All that a call returns; of a modular pipeline, what was asked for."""
    if isinstance(output, dict):
        return list(output.values())
    if isinstance(output, tuple):
        return list(output)
    return [output] if isinstance(output, list | Tensor | np.ndarray) else list(vars(output).values())
