"""What is decoded, or handed out as latents, is what was judged: compared image by image, just before it leaves.

A pipeline's callback may put other latents in the place of those that the last step returned.

Shapes: B images, C latent channels, H and W latent positions.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.guidance.fail_open import RefusalError
from latent_guard.guidance.run import Run
from latent_guard.pipelines.call import gives_latents
from latent_guard.pipelines.images import images_of, with_images
from latent_guard.pipelines.latents import PipelineLatents
from latent_guard.pipelines.vae import DecoderCall, without_frames

ROUNDINGS = 4  # in float32, by which compiled arithmetic may differ from the same in eager mode
NOT_VERIFIED = "the generation ended before its last step: its images were not verified, discard them"
UNSEEN = (
    "no step of this call passed the guard (it took none, or other code replaced the scheduler's `step` or the "
    "scheduler): its images were not verified, discard them"
)


@dataclass(frozen=True, eq=False)
class Judged:
    """What a call hands out by its last check: a pipeline's latents (B, C, H, W), neutral where masked (B,).

    ``noise_level`` is above 0 where the rest of the steps is left to a refiner.
    """

    latents: Tensor
    masked: Tensor
    noise_level: float


@dataclass
class Call:
    """One call of a guarded pipeline, until it hands out.

    ``run`` is what its steps amount to, ``judged`` is there after the last of them. ``bypassed``: the guard failed in
    it, and the caller had asked to let it go on.
    """

    thread: int
    gives_latents: bool = False
    run: Run | None = None
    judged: Judged | None = None
    decoded: bool = False
    bypassed: bool = False


# A run, its final raw latents (B, C, H, W), those that are others than were judged -> which are masked (B,)
JudgeAgain = Callable[[Run, Tensor, list[int]], Tensor]
# Raw latents that belong to no image of a run -> which are masked (B,)
JudgeAlone = Callable[[Tensor], Tensor]


class Gate:
    """Stands at a pipeline's ``vae.decode``, and where its call returns."""

    def __init__(
        self, vae: Any | None, latents: PipelineLatents, judge_again: JudgeAgain, judge_alone: JudgeAlone
    ) -> None:
        self.vae = vae  # None: what is decoded is not looked at
        self.call: Call | None = None  # the one under way
        self._loop: Call | None = None  # a loop of somebody's own over the scheduler's steps, the latest that ended
        self._latents = latents
        self._judge_again = judge_again
        self._judge_alone = judge_alone

    def begin(self, arguments: inspect.BoundArguments) -> Call:
        """A call with these arguments begins; ``GuardError`` if one is under way."""
        if self.call is not None:
            raise RefusalError("a guarded pipeline makes one call at a time; wait for the one that is under way")
        self.call = Call(threading.get_ident(), gives_latents(arguments))
        return self.call

    def of_this_thread(self) -> Call | None:
        """The call under way, if it is this thread's; ``GuardError`` for a step of another thread meanwhile."""
        if self.call is not None and self.call.thread != threading.get_ident():
            raise RefusalError("another thread steps a guarded call's scheduler; give each thread its own pipeline")
        return self.call

    def finish(self, call: Call | None, run: Run, masked: Tensor, output: Any, noise_level: float) -> None:
        """The last check of a run was made; its last step returns ``output``, neutral where images (B,) are masked."""
        if call is None:
            call = self._loop = Call(threading.get_ident())
        latents = self._latents.layout.final(output).detach().clone()  # a callback may write into the tensor itself
        call.run = run
        call.judged = Judged(latents, masked, noise_level)

    def decoding(self, vae: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """Stands around ``vae.decode``: in a call, and after a loop, nothing passes that was not judged."""
        call = self._loop if self.call is None else self.call
        if call is None or call.thread != threading.get_ident() or call.bypassed:
            return original(*arguments.args, **arguments.kwargs)
        if call.run is None:
            raise RefusalError(UNSEEN)
        if call.judged is None:  # a preview, or an unfinished image, which will not be handed out
            return original(*arguments.args, **arguments.kwargs)
        made = DecoderCall.of(arguments)
        if made.latents is None:
            raise RefusalError("what is to be decoded is no tensor, which the guard cannot judge")
        return made.made_with(original, self._to_decode(call, call.judged, made.latents))

    def handing_out(self, call: Call, output: Any) -> Any:
        """What the call may return: its output, latents in it compared as those that are decoded.

        Raises:
            GuardError: an image in it was not verified.
        """
        if call.bypassed:
            return output
        if call.run is None:
            raise RefusalError(UNSEEN)
        if call.judged is None:
            raise RefusalError(NOT_VERIFIED)
        images = images_of(output)
        count = len(call.judged.masked)
        if len(images) != count:
            raise RefusalError(f"the pipeline gave {len(images)} images, but the guard verified {count}; discard them")
        if call.gives_latents:
            return self._with_latents(call, call.judged, output, images)
        if self.vae is not None and not call.decoded:
            raise RefusalError("the images were not decoded by the VAE that the guard watches; discard them")
        return output

    def _with_latents(self, call: Call, judged: Judged, output: Any, images: Tensor) -> Any:
        layout = self._latents.layout
        space = self._latents.space
        if layout.family.returns == "raw":
            return with_images(output, self._to_decode(call, judged, images))
        latents = layout.unpack_output(_floating(images))
        _require_shape(latents, judged)
        changed = _others(latents, [judged.latents.to(latents)])
        passed = self._passed(call, judged, latents, space.to_raw(latents.float()), changed, self._latents.neutral)
        return output if passed is latents else with_images(output, layout.pack_output(passed))

    def _to_decode(self, call: Call, judged: Judged, given: Tensor) -> Tensor:
        """Raw latents on their way into the decoder, those that are to be masked made neutral."""
        pictures = without_frames(_floating(given))
        raw = self._latents.decoded_to_raw(pictures.detach().float())
        neutral = self._latents.neutral_decoded.float()
        # Some pipelines scale in their own precision, some in that of the VAE.
        own = judged.latents.to(given.device)
        expected = [self._latents.decodes.to_raw(latents).to(given.dtype) for latents in (own, own.float())]
        if raw.shape != expected[0].shape:  # a preview of a part: no image of the call, and judged by itself
            masked = self._judge_alone(raw)
            passed = _with_neutral(pictures, masked.nonzero().flatten().tolist(), neutral)
        else:
            call.decoded = True
            passed = self._passed(call, judged, pictures, raw, _others(pictures, expected), neutral)
        return given if passed is pictures else passed.reshape(given.shape)

    def _passed(
        self, call: Call, judged: Judged, latents: Tensor, raw: Tensor, changed: list[int], neutral: Tensor
    ) -> Tensor:
        """The latents, the very same if they are those that were judged, with those masked in neutral."""
        assert call.run is not None
        if changed and judged.noise_level > 0 and not judged.masked[changed].all():
            raise RefusalError("noisy latents were changed after the last check of them; discard them")
        fresh = [image for image in changed if not judged.masked[image]]
        masked = judged.masked | self._judge_again(call.run, raw, fresh)
        return _with_neutral(latents, [image for image in changed if masked[image]], neutral)


def _floating(latents: Tensor) -> Tensor:
    if not isinstance(latents, Tensor) or not latents.is_floating_point():
        kind = latents.dtype if isinstance(latents, Tensor) else type(latents).__name__
        raise RefusalError(f"what is to be handed out is {kind}, which the guard cannot judge")
    return latents


def _require_shape(latents: Tensor, judged: Judged) -> None:
    if latents.shape != judged.latents.shape:
        given = tuple(latents.shape)
        known = tuple(judged.latents.shape)
        raise RefusalError(f"latents of shape {given} are to be handed out, and {known} were judged; discard them")


def _others(latents: Tensor, expected: list[Tensor]) -> list[int]:
    """The images of latents that are like none of what was expected, all of one shape; a NaN is like nothing."""
    same = torch.zeros(len(latents), dtype=torch.bool, device=latents.device)
    for one in expected:
        slack = ROUNDINGS * torch.finfo(torch.float32).eps * (1 + one.float().abs())
        same |= ((latents.float() - one.float()).abs() <= slack).flatten(1).all(dim=1)
    return (~same).nonzero().flatten().tolist()


def _with_neutral(latents: Tensor, rows: list[int], neutral: Tensor) -> Tensor:
    if not rows:
        return latents
    passed = latents.clone()
    passed[rows] = neutral.to(passed)
    return passed
