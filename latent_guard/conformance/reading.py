"""Proofs that the guard reads what a pipeline decodes, and moves it the right way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from latent_guard.conformance.harness import (
    ALWAYS,
    NEVER,
    Call,
    decoded_by,
    is_video,
    known_guard,
    tolerance,
    usual_policy,
)
from latent_guard.conformance.known import KnownLatentCLIP
from latent_guard.errors import GuardError, InputError
from latent_guard.guidance.policy import BLOCK, STEER
from latent_guard.guidance.verdict import Decision, Gate
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.family_table import family_of

LAST_STEPS = (0.999, 0.0)  # where a push is not undone by later steps, all of them are looked at


def a_guard_that_never_acts_changes_nothing(pipe: Any, call: Call) -> str:
    """Idle, the guard leaves every bit as it is."""
    plain = call(pipe)
    with known_guard(pipe, NEVER, usual_policy(pipe)).attach(pipe) as watch:
        guarded = call(pipe)
    if [verdict.decision for verdict in watch.verdicts] != [Decision.ALLOWED] * len(plain):
        return f"{len(watch.verdicts)} verdicts on {len(plain)} images: {[v.decision.value for v in watch.verdicts]}"
    return "" if np.array_equal(plain, guarded) else "the images are others"


def the_last_look_is_at_what_is_decoded(pipe: Any, call: Call) -> str:
    """What is judged at the last step is what ``vae.decode`` gets."""
    critic = KnownLatentCLIP(LatentSpace.of_vae(pipe.vae))
    # At the steps alone, as the gate at the decoder judges again what was not; some videos get their first frame there.
    gate: Gate = "both" if is_video(pipe) else "steps"
    with decoded_by(pipe) as given, known_guard(pipe, NEVER, usual_policy(pipe), critic).attach(pipe, gate=gate):
        call(pipe)
    if critic.seen is None or not given:
        return "nothing was seen, or nothing decoded"
    raw = given[-1] if family_of(pipe).sections else torch.cat(given)
    if raw.shape != critic.seen.shape:
        return f"latents {tuple(raw.shape)} were decoded, and {tuple(critic.seen.shape)} judged"
    error = float((raw - critic.seen).abs().max() / raw.abs().max())
    return "" if error < tolerance(pipe) else f"they differ by {error:.2g} of the largest"


def latents_that_are_handed_out_are_those_that_were_judged(pipe: Any, call: Call) -> str:
    """The same of a call that asks for latents."""
    if family_of(pipe).sections:
        return _refused(pipe, call)
    plain = call(pipe, output_type="latent")
    critic = KnownLatentCLIP(LatentSpace.of_vae(pipe.vae))
    with known_guard(pipe, NEVER, usual_policy(pipe), critic).attach(pipe) as watch:
        guarded = call(pipe, output_type="latent")
    if not torch.equal(plain, guarded):
        return "they are others"
    # A video to which its pipeline adds the frame that it began with is judged again, with it.
    if sum(check.noise_level == 0 for check in watch.checks) != 1 and not is_video(pipe):
        return "they were judged a second time, as others than the last look's"
    with known_guard(pipe, ALWAYS, BLOCK, critic).attach(pipe):
        blocked = call(pipe, output_type="latent")
    return "" if blocked.shape == plain.shape and not torch.equal(blocked, plain) else "blocked ones are handed out"


def _refused(pipe: Any, call: Call) -> str:
    try:
        with known_guard(pipe, NEVER, usual_policy(pipe)).attach(pipe):
            call(pipe, output_type="latent")
    except (GuardError, InputError):
        return ""
    return "those of sections are handed out"


def a_push_moves_the_right_image_the_right_way(pipe: Any, call: Call) -> str:
    """Of a batch, a push moves the image that it is meant for, against the gradient of its score, and no other."""
    critic = KnownLatentCLIP(LatentSpace.of_vae(pipe.vae))
    policy = replace(STEER, window=LAST_STEPS, strength=0.2, max_pushes=1, augmentations=1, safety_margin=0.0)
    with decoded_by(pipe) as given, known_guard(pipe, NEVER, policy, critic).attach(pipe) as watch:
        call(pipe)
    plain = torch.cat(given)
    early = [check for check in watch.checks if check.noise_level > 0]  # in half precision the last may come twice
    looks, levels = [check.scores[:, 0] for check in early], [check.noise_level for check in early]
    if len(looks[-1]) < 2:
        return "a call of at least two images is needed to tell them apart"
    if len(looks) < 2:
        return ""  # the only estimate of a call of one step is never pushed, as nothing would correct it
    # At the last look alone: later steps would carry the push along their own way.
    level, scores = levels[-1], looks[-1]
    worst, second = scores.sort(descending=True).values[:2].tolist()
    alone = replace(policy, window=((level + min([*levels[:-1], 1.0])) / 2, level / 2))
    with decoded_by(pipe) as given, known_guard(pipe, (worst + second) / 2, alone, critic).attach(pipe) as watch:
        call(pipe)
    moved = torch.cat(given) - plain
    image = int(scores.argmax())
    if [verdict.cost.pushes for verdict in watch.verdicts] != [int(n == image) for n in range(len(scores))]:
        return f"pushes were {[verdict.cost.pushes for verdict in watch.verdicts]}, and image {image} was to be pushed"
    others = moved.clone()
    others[image] = 0
    if others.abs().max() > 0:
        return "another image moved"
    if moved[image].abs().max() == 0:
        return "the image did not move"
    gained = float((moved[image] * critic.direction).mean())
    return "" if gained < 0 else f"its score rose by {gained:.2g}"


def a_video_scores_what_its_worst_frame_does(pipe: Any, call: Call) -> str:
    """A video's verdict names its worst frame, and has its score."""
    critic = KnownLatentCLIP(LatentSpace.of_vae(pipe.vae))
    with decoded_by(pipe) as given, known_guard(pipe, NEVER, BLOCK, critic).attach(pipe) as watch:
        videos = len(call(pipe))
    sections = given if family_of(pipe).sections else [torch.cat(given)]
    scores = torch.cat([critic.score(raw).unflatten(0, (videos, -1)) for raw in sections], dim=1)
    for verdict, by_frame in zip(watch.verdicts, scores, strict=True):
        reason = verdict.reason
        if family_of(pipe).sections:  # whose frames are counted in each, and of which some are not decoded
            if reason is None or reason.score < float(by_frame.max()) - tolerance(pipe) * (1 + abs(reason.score)):
                return f"its worst frame scores {float(by_frame.max()):.4g}, and the verdict's reason is {reason}"
            continue
        if reason is None or reason.frame != int(by_frame.argmax()):
            return f"frame {int(by_frame.argmax())} scores highest, and the verdict's reason is {reason}"
        if abs(reason.score - float(by_frame.max())) > tolerance(pipe) * (1 + abs(reason.score)):
            return f"its worst frame scores {float(by_frame.max()):.4g}, the video {reason.score:.4g}"
    return ""
