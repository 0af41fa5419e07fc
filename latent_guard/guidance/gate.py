"""What is decoded, or handed out as latents, is what was judged: compared image by image, just before it leaves.

A pipeline's callback may put other latents in the place of those that the last step returned.

Shapes: B images, C latent channels, H and W latent positions; of videos T latent frames stand before H.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from latent_guard.guidance.fail_open import RefusalError
from latent_guard.guidance.judged import Call, Judged, others, without_time
from latent_guard.guidance.latent_forms import LatentForm, forms_of
from latent_guard.guidance.run import Run
from latent_guard.pipelines.call import gives_latents
from latent_guard.pipelines.images import images_of, with_images
from latent_guard.pipelines.latents import PipelineLatents, spread
from latent_guard.pipelines.modular import LATENTS, PICTURES, generated, is_state
from latent_guard.pipelines.vae import DecoderCall, without_frames

NOT_VERIFIED = "the generation ended before its last step: its images were not verified, discard them"
UNSEEN = (
    "no step of this call passed the guard (it took none, or other code replaced the scheduler's `step` or the "
    "scheduler): its images were not verified, discard them"
)
NOT_DECODED_HERE = "what is to be handed out was not decoded by the VAE that the guard watches, nor judged; discard it"

# A run, its final raw latents (B, C, H, W), those that are others than were judged, whether some left before -> which
# are masked (B,)
JudgeAgain = Callable[[Run, Tensor, list[int], bool], Tensor]
# Raw latents that belong to no image of a run -> which are masked (B,)
JudgeAlone = Callable[[Tensor], Tensor]


class Gate:
    """Stands at a pipeline's ``vae.decode``, and where its call returns."""

    def __init__(
        self, vae: Any | None, latents: PipelineLatents, judge_again: JudgeAgain, judge_alone: JudgeAlone
    ) -> None:
        self.vae = vae  # None: what is decoded is not looked at
        self.call: Call | None = None  # the one under way
        self._loop: Call | None = None  # the latest call that ended, or loop of somebody's own over the scheduler
        self._inside = False  # of `vae.decode`
        self._own_work = False  # the guard looks, for which a model that reads pixels decodes
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
        call.mask(masked)

    def end(self) -> None:
        """The call is over; what is decoded after it, in the block, is still compared with what was judged."""
        call, self.call = self.call, None
        self._loop = call if call is not None and call.judged is not None else self._loop

    @contextmanager
    def own_work(self) -> Iterator[None]:
        """The block in which the guard itself works: what it decodes to look at is no image, nor shown to anybody."""
        outer, self._own_work = self._own_work, True
        try:
            yield
        finally:
            self._own_work = outer

    def at_the_decoder(self, *_: Any) -> None:
        """Stands before the decoder's first layer: after the last check nobody gets there without ``vae.decode``."""
        call = self.call
        if call is not None and call.judged is not None and not (call.bypassed or self._inside or self._own_work):
            raise RefusalError(
                "the VAE's decoder was called past the guard: vae.decode was replaced inside the guarded block, or its "
                "layers were called by themselves"
            )

    def decoding(self, vae: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """Stands around ``vae.decode``: in a call, and after a loop, nothing passes that was not judged."""
        call = self._loop if self.call is None else self.call
        own_thread = call is not None and call.thread == threading.get_ident()
        if call is self.call and call is not None and call.judged is not None and not (own_thread or call.bypassed):
            raise RefusalError("another thread decodes during a guarded call; give each thread its own pipeline")
        if call is None or not own_thread or call.bypassed or self._own_work:
            return original(*arguments.args, **arguments.kwargs)
        if call.run is None:
            raise RefusalError(UNSEEN)
        made = DecoderCall.of(arguments)
        if made.latents is None:
            raise RefusalError("what is to be decoded is no tensor, which the guard cannot judge")
        # Before the last step it is a preview: no image of the call, but near the end almost the picture.
        judged = call.judged
        passed = self._alone(made.latents) if judged is None else self._to_decode(call, judged, made.latents)
        self._inside = True
        try:
            return made.made_with(original, passed)
        finally:
            self._inside = False

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
        if is_state(output):
            return self._with_state(call, call.judged, output)
        if call.gives_latents and self._latents.layout.family.sections:
            raise RefusalError("latents of a video that is made in sections are not handed out; ask for its frames")
        images = images_of(output)
        call.judged.require_count(images)
        if call.gives_latents:
            return self._with_latents(call, call.judged, output, images)
        if self.vae is not None and not call.decoded:
            raise RefusalError(NOT_DECODED_HERE)
        return output

    def _with_state(self, call: Call, judged: Judged, state: Any) -> Any:
        """The state of a modular pipeline, without what is blocked, and with nothing that was not judged."""
        images = generated(state)
        if images is not None:
            judged.require_count(images)
        verified = call.decoded or self.vae is None
        for name in (*PICTURES, LATENTS):
            given = state.get(name)
            if isinstance(given, Tensor) and (name == LATENTS or not verified or self._looks_latent(judged, given)):
                state.set(name, self._latents_of_state(call, judged, given))
                verified = True
        if not verified:
            raise RefusalError(NOT_DECODED_HERE)
        if call.masks:
            _leave_out(state, call.inputs)
        return state

    def _looks_latent(self, judged: Judged, given: Tensor) -> bool:
        return any(given.shape == form.closed(judged.latents).shape for form in forms_of(self._latents))

    def _latents_of_state(self, call: Call, judged: Judged, given: Tensor) -> Tensor:
        """Latents in a state: judged again where they are others than before, and neutral where they are masked."""
        latents = without_frames(_floating(given)) if judged.latents.ndim == 4 else _floating(given)
        own = judged.latents.to(latents.device)
        alike = [form for form in forms_of(self._latents) if without_time(form.closed(own)) == without_time(latents)]
        if not alike:
            raise RefusalError(NOT_DECODED_HERE)
        changed = [others(latents, self._closed(form, own, latents.dtype)) for form in alike]
        if [] in changed:
            return given
        form = alike[0]
        opened = form.opened(latents)
        raw = self._latents.space.to_raw(opened.float())
        passed = self._passed(call, judged, opened, raw, changed[0], self._latents.neutral)
        return given if passed is opened else form.closed(passed).to(given.dtype).reshape(given.shape)

    def _closed(self, form: LatentForm, latents: Tensor, dtype: torch.dtype) -> list[Tensor]:
        forms = self._raw_forms(latents, dtype) if form.is_raw else [form.closed(latents)]
        return [own.to(dtype) for own in forms]

    def _with_latents(self, call: Call, judged: Judged, output: Any, images: Tensor) -> Any:
        layout = self._latents.layout
        space = self._latents.space
        if layout.family.returns == "raw":
            return with_images(output, self._to_decode(call, judged, images))
        latents = layout.unpack_output(_floating(images))
        judged.require_shape(latents)
        changed = others(latents, [judged.latents.to(latents)])
        passed = self._passed(call, judged, latents, space.to_raw(latents.float()), changed, self._latents.neutral)
        return output if passed is latents else with_images(output, layout.pack_output(passed))

    def _to_decode(self, call: Call, judged: Judged, given: Tensor) -> Tensor:
        """Raw latents on their way into the decoder, those that are to be masked made neutral."""
        of_videos = judged.latents.ndim == 5
        pictures = _floating(given) if of_videos else without_frames(_floating(given))
        raw = self._latents.decoded_to_raw(pictures.detach().float())
        neutral = self._latents.neutral_decoded.float()
        expected = [form.to(given.dtype) for form in self._raw_forms(judged.latents.to(given.device), given.dtype)]
        if of_videos and raw.ndim == 4 and call.add_frames(raw, expected):
            return given
        if without_time(raw) != without_time(expected[0]):  # of a part: no image of the call
            return self._alone(given)
        call.decoded = True
        passed = self._passed(call, judged, pictures, raw, others(pictures, expected), neutral)
        return given if passed is pictures else passed.reshape(given.shape)

    def _alone(self, given: Tensor) -> Tensor:
        """Raw latents on their way into the decoder that are no image of a call, judged by themselves."""
        latents = _floating(given) if self._latents.layout.family.video else without_frames(_floating(given))
        masked = self._judge_alone(self._latents.decoded_to_raw(latents.detach().float()))
        passed = _with_neutral(latents, masked.nonzero().flatten().tolist(), self._latents.neutral_decoded.float())
        return given if passed is latents else passed.reshape(given.shape)

    def _raw_forms(self, latents: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """The raw latents of a pipeline's, as its code may compute them: these differ where precision is low.

        Some pipelines scale in the precision of their latents, some in full, some in the ``dtype`` of their VAE.
        """
        space = self._latents.decodes
        forms = [space.to_raw(given) for given in (latents, latents.float())]
        if dtype != torch.float32:
            low = latents.to(dtype)
            forms += [space.to_raw(low), space.to_raw(low, by_reciprocals=True)]
        return forms

    def _passed(
        self, call: Call, judged: Judged, latents: Tensor, raw: Tensor, changed: list[int], neutral: Tensor
    ) -> Tensor:
        """The latents, the very same if they are those that were judged, with those masked in neutral."""
        assert call.run is not None
        if changed and judged.noise_level > 0 and not judged.masked[changed].all():
            raise RefusalError("noisy latents were changed after the last check of them; discard them")
        fresh = [image for image in changed if not judged.masked[image]]
        masked = judged.masked | self._judge_again(call.run, raw, fresh, call.left)
        call.left = True
        call.mask(masked)
        return _with_neutral(latents, [image for image in changed if masked[image]], neutral)


def _floating(latents: Tensor) -> Tensor:
    if not isinstance(latents, Tensor) or not latents.is_floating_point():
        kind = latents.dtype if isinstance(latents, Tensor) else type(latents).__name__
        raise RefusalError(f"what is to be handed out is {kind}, which the guard cannot judge")
    return latents


def _leave_out(state: Any, inputs: dict[str, Any]) -> None:
    """Leave all that blocks made of a call's latents out of its state, but for pictures and the latents themselves."""
    for name, value in list(state.values.items()):
        own = name in (*PICTURES, LATENTS) or inputs.get(name) is value
        if not (own or value is None or isinstance(value, bool | int | float | str)):
            del state.values[name]


def _with_neutral(latents: Tensor, rows: list[int], neutral: Tensor) -> Tensor:
    if not rows:
        return latents
    passed = latents.clone()
    passed[rows] = spread(neutral, passed)
    return passed
