"""What must hold of a guarded pipeline, whatever its family: the proofs that every known class has passed.

The scorer is known: the mean of raw latents along a random direction. So whether the guard reads what is decoded, and
moves the right image the right way, is compared with arithmetic, and not with another model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latent_guard.conformance.closing import (
    afterwards_the_pipeline_is_as_before,
    blocked_images_are_decoded_from_gray,
    failures_and_exchanges_end_the_call,
    nothing_else_shows_blocked_images,
)
from latent_guard.conformance.harness import Call, Proof, is_video
from latent_guard.conformance.reading import (
    a_guard_that_never_acts_changes_nothing,
    a_push_moves_the_right_image_the_right_way,
    a_video_scores_what_its_worst_frame_does,
    latents_that_are_handed_out_are_those_that_were_judged,
    the_last_look_is_at_what_is_decoded,
)


def check_conformance(pipe: Any, call: Call) -> list[Proof]:
    """All proofs on a pipeline that the guard knows.

    Args:
        pipe: of diffusers.
        call: makes some images with it, the same ones every time, as numpy arrays.

    Raises:
        UnsupportedPipelineError: the guard does not know the pipeline.
    """
    proofs: tuple[Callable[[Any, Call], str], ...] = (
        a_guard_that_never_acts_changes_nothing,
        the_last_look_is_at_what_is_decoded,
        latents_that_are_handed_out_are_those_that_were_judged,
        a_video_scores_what_its_worst_frame_does if is_video(pipe) else a_push_moves_the_right_image_the_right_way,
        blocked_images_are_decoded_from_gray,
        nothing_else_shows_blocked_images,
        failures_and_exchanges_end_the_call,
        afterwards_the_pipeline_is_as_before,
    )
    return [Proof(proof.__name__.replace("_", " "), proof(pipe, call)) for proof in proofs]
