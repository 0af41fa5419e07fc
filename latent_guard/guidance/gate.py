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

from latent_guard.errors import GuardError
from latent_guard.guidance.pipeline_latents import PipelineLatents
from latent_guard.guidance.run import Run

ROUNDINGS = 8  # of the pipeline's own arithmetic between its last step and the decoder, in its precision
NOT_VERIFIED = "the generation ended before its last step: its images were not verified, discard them"


@dataclass(frozen=True, eq=False)
class Judged:
    """What a call hands out by its last look: raw latents (B, C, H, W), neutral where withheld (B,).

    `offset` is what a pipeline adds to scaled latents at most, `dtype` the precision that it keeps them in, and
    `noise_level` above 0 where the rest of the steps is left to a refiner.
    """

    raw: Tensor
    withheld: Tensor
    offset: float
    dtype: torch.dtype
    noise_level: float

    def changed(self, raw: Tensor, dtype: torch.dtype) -> list[int]:
        """The images of raw latents, which came in `dtype`, that are others than were judged.

        Raises:
            GuardError: of another shape.
        """
        if raw.shape != self.raw.shape:
            raise GuardError(
                f"latents of shape {tuple(raw.shape)} are to be handed out, and {tuple(self.raw.shape)} were judged"
            )
        given, judged = raw.detach().float(), self.raw.to(raw.device)
        coarsest = max(torch.finfo(kind).eps for kind in (dtype, self.dtype))
        slack = ROUNDINGS * coarsest * (judged.abs() + self.offset)
        same = ((given - judged).abs() <= slack).flatten(1).all(dim=1)  # what is not a number is not the same
        return (~same).nonzero().flatten().tolist()


@dataclass
class Call:
    """One call of a guarded pipeline, until it hands out.

    `run` is what its steps amount to, `judged` is there after the last of them. `is_open`: the guard failed in it, and
    the caller had asked to let it go on.
    """

    thread: int
    output_type: str
    run: Run | None = None
    judged: Judged | None = None
    decoded: bool = False
    is_open: bool = False


# What a run's images come to with other final raw latents (B, C, H, W), those named being new: which are withheld (B,)
JudgeAgain = Callable[[Run, Tensor, list[int]], Tensor]


class Gate:
    """Stands at a pipeline's `vae.decode`, and where its call returns."""

    def __init__(self, pipe: Any, latents: PipelineLatents, judge_again: JudgeAgain) -> None:
        self.call: Call | None = None
        self.vae = pipe.vae
        self._latents, self._judge_again = latents, judge_again

    def begin(self, arguments: inspect.BoundArguments) -> Call:
        """A call with these arguments begins.

        Raises:
            GuardError: one is under way.
        """
        if self.call is not None:
            raise GuardError("a guarded pipeline makes one call at a time; wait for the one that is under way")
        asked = inspect.BoundArguments(arguments.signature, arguments.arguments.copy())
        asked.apply_defaults()
        self.call = Call(threading.get_ident(), str(asked.arguments.get("output_type", "pil")))
        return self.call

    def of_this_thread(self) -> Call | None:
        """The call under way, if it is this thread's; `GuardError` for a step of another thread meanwhile."""
        if self.call is not None and self.call.thread != threading.get_ident():
            raise GuardError("another thread steps the scheduler of a guarded call; give each thread its own pipeline")
        return self.call

    def conclude(self, call: Call, run: Run, withheld: Tensor, output: Any, noise_level: float) -> None:
        """The call's last look was taken; its last step returns `output`, neutral where images (B,) are withheld."""
        space, latents = self._latents.space, self._latents.layout.final(output)
        offset = abs(space.shift_factor) + max(map(abs, space.mean), default=0.0)
        raw = space.to_raw(latents.detach().float())
        call.run, call.judged = run, Judged(raw, withheld, offset, latents.dtype, noise_level)

    def decoding(self, vae: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """Stands around `vae.decode`: in a call, nothing passes that was not judged."""
        call = self.call
        if call is None or call.thread != threading.get_ident() or call.is_open:
            return original(*arguments.args, **arguments.kwargs)
        if call.run is None:
            raise GuardError(_unseen())
        if call.judged is not None:  # before that it is a preview, or an unfinished image that will not be handed out
            name = list(arguments.signature.parameters)[1]
            latents = arguments.arguments[name]
            arguments.arguments[name] = self._passed(call, latents, latents, self._neutral_raw())
            call.decoded = True
        return original(*arguments.args, **arguments.kwargs)

    def handing_out(self, call: Call, output: Any) -> Any:
        """What the call may return: its output, latents in it compared as those that are decoded.

        Raises:
            GuardError: an image in it was not verified.
        """
        if call.is_open:
            return output
        if call.run is None:
            raise GuardError(_unseen())
        if call.judged is None:
            raise GuardError(NOT_VERIFIED)
        images = output[0] if isinstance(output, tuple) else output.images
        count = len(call.judged.withheld)
        if len(images) != count:
            raise GuardError(f"the pipeline gave {len(images)} images, but the guard verified {count}; discard them")
        if call.output_type == "latent":
            return self._with_latents(call, output, images)
        if self.vae is not None and not call.decoded:
            raise GuardError("the images were not decoded by the VAE that the guard watches; discard them")
        return output

    def _with_latents(self, call: Call, output: Any, images: Tensor) -> Any:
        layout = self._latents.layout
        latents = layout.unpack(images)
        passed = self._passed(call, latents, self._latents.space.to_raw(latents.float()), self._latents.neutral)
        if passed is latents:
            return output
        if isinstance(output, tuple):
            return (layout.pack(passed), *output[1:])
        output.images = layout.pack(passed)
        return output

    def _passed(self, call: Call, latents: Tensor, raw: Tensor, neutral: Tensor) -> Tensor:
        """The latents, the very same if they are those that were judged, with those withheld in neutral."""
        judged = call.judged
        assert judged is not None
        assert call.run is not None
        changed = judged.changed(raw, latents.dtype)
        if not changed:
            return latents
        fresh = [image for image in changed if not judged.withheld[image]]
        withheld = judged.withheld
        if fresh:
            if judged.noise_level > 0:
                raise GuardError("noisy latents were changed after the last look at them; discard them")
            withheld = withheld | self._judge_again(call.run, raw.detach().float(), fresh)
        rows = [image for image in changed if withheld[image]]
        passed = latents.clone()
        passed[rows] = neutral.to(passed)
        seen = raw.detach().float().clone()
        seen[rows] = self._neutral_raw().to(seen)
        call.judged = Judged(seen, withheld, judged.offset, judged.dtype, judged.noise_level)
        return passed if rows else latents

    def _neutral_raw(self) -> Tensor:
        return self._latents.space.to_raw(self._latents.neutral.float())


def _unseen() -> str:
    return (
        "no step of this call passed the guard (it took none, or other code replaced the scheduler's `step` or the "
        "scheduler): its images were not verified, discard them"
    )
