"""What must hold of a guarded pipeline, whatever its family: the proofs that every known class has passed.

The scorer is known: the mean of raw latents along a random direction. So whether the guard reads what is decoded, and
moves the right image the right way, is compared with arithmetic, and not with another model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from latent_guard.conformance.known import KnownLatentCLIP, linear_bank
from latent_guard.errors import GuardError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import BLOCK, STEER
from latent_guard.guidance.verdict import Decision
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.latents import Decodes
from latent_guard.pipelines.vae import first_of_the_decoder, without_frames

NEVER, ALWAYS = 1e3, -1e3
# (pipe, **changes of the arguments) -> the images of a call that draws the same every time, as numpy arrays
Call = Callable[..., Any]
LAST_STEPS = (0.999, 0.0)  # where a push is not undone by later steps, all of them are looked at


@dataclass(frozen=True)
class Proof:
    """One thing that must hold: ``failure`` says what does not, and is empty where it does."""

    name: str
    failure: str

    @property
    def holds(self) -> bool:
        """True if it does."""
        return not self.failure


def check_conformance(pipe: Any, call: Call) -> list[Proof]:
    """All proofs on a pipeline that the guard knows.

    Args:
        pipe: of diffusers.
        call: makes some images with it, the same ones every time, as numpy arrays.

    Raises:
        UnsupportedPipelineError: the guard does not know the pipeline.
    """
    proofs: tuple[Callable[[Any, Call], str], ...] = (
        _a_guard_that_never_acts_changes_nothing,
        _the_last_look_is_at_what_is_decoded,
        _latents_that_are_handed_out_are_those_that_were_judged,
        _a_push_moves_the_right_image_the_right_way,
        _blocked_images_are_decoded_from_gray,
        _failures_and_exchanges_end_the_call,
        _afterwards_the_pipeline_is_as_before,
    )
    return [Proof(proof.__name__.strip("_").replace("_", " "), proof(pipe, call)) for proof in proofs]


def known_guard(pipe: Any, threshold: float, policy: Any, model: KnownLatentCLIP | None = None) -> LatentGuard:
    """A guard of a pipeline's latents whose scores are known; an image is unsafe from ``threshold`` on."""
    own = model or KnownLatentCLIP(LatentSpace.of_vae(pipe.vae))
    return LatentGuard(cast(LatentCLIP, own), linear_bank(threshold), policy)


def _a_guard_that_never_acts_changes_nothing(pipe: Any, call: Call) -> str:
    plain = call(pipe)
    with known_guard(pipe, NEVER, STEER).attach(pipe) as watch:
        guarded = call(pipe)
    if [verdict.decision for verdict in watch.verdicts] != [Decision.ALLOWED] * len(plain):
        return f"{len(watch.verdicts)} verdicts on {len(plain)} images: {[v.decision.value for v in watch.verdicts]}"
    return "" if np.array_equal(plain, guarded) else "the images are others"


def _the_last_look_is_at_what_is_decoded(pipe: Any, call: Call) -> str:
    critic = KnownLatentCLIP(LatentSpace.of_vae(pipe.vae))
    with decoded_by(pipe) as given, known_guard(pipe, NEVER, STEER, critic).attach(pipe):
        call(pipe)
    if critic.seen is None or not given:
        return "nothing was seen, or nothing decoded"
    raw = torch.cat(given)
    if raw.shape != critic.seen.shape:
        return f"latents {tuple(raw.shape)} were decoded, and {tuple(critic.seen.shape)} judged"
    error = float((raw - critic.seen).abs().max() / raw.abs().max())
    return "" if error < tolerance(pipe) else f"they differ by {error:.2g} of the largest"


def _latents_that_are_handed_out_are_those_that_were_judged(pipe: Any, call: Call) -> str:
    plain = call(pipe, output_type="latent")
    critic = KnownLatentCLIP(LatentSpace.of_vae(pipe.vae))
    with known_guard(pipe, NEVER, STEER, critic).attach(pipe) as watch:
        guarded = call(pipe, output_type="latent")
    if not torch.equal(plain, guarded):
        return "they are others"
    if sum(check.noise_level == 0 for check in watch.checks) != 1:
        return "they were judged a second time, as others than the last look's"
    with known_guard(pipe, ALWAYS, BLOCK, critic).attach(pipe):
        blocked = call(pipe, output_type="latent")
    return "" if blocked.shape == plain.shape and not torch.equal(blocked, plain) else "blocked ones are handed out"


def _a_push_moves_the_right_image_the_right_way(pipe: Any, call: Call) -> str:
    critic = KnownLatentCLIP(LatentSpace.of_vae(pipe.vae))
    policy = replace(STEER, window=LAST_STEPS, strength=0.2, max_pushes=1, augmentations=1, safety_margin=0.0)
    with decoded_by(pipe) as given, known_guard(pipe, NEVER, policy, critic).attach(pipe) as watch:
        call(pipe)
    plain = torch.cat(given)
    looks = [check.scores[:, 0] for check in watch.checks[:-1]]
    levels = [check.noise_level for check in watch.checks[:-1]]
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


def _blocked_images_are_decoded_from_gray(pipe: Any, call: Call) -> str:
    gray = Decodes.of(pipe, LatentSpace.of_vae(pipe.vae), None).neutral_raw
    with known_guard(pipe, ALWAYS, BLOCK).attach(pipe) as watch, decoded_by(pipe) as given:
        call(pipe)
    if {verdict.decision for verdict in watch.verdicts} != {Decision.BLOCKED}:
        return f"decisions were {[verdict.decision.value for verdict in watch.verdicts]}"
    raw = torch.cat(given)
    error = float((raw - gray.to(raw)).abs().max() / (1 + raw.abs().max()))
    return "" if error < 10 * tolerance(pipe) else f"what was decoded differs from gray by {error:.2g}"


def _failures_and_exchanges_end_the_call(pipe: Any, call: Call) -> str:
    broken = KnownLatentCLIP(LatentSpace.of_vae(pipe.vae), ValueError("out of order"))
    if not _ends(pipe, call, known_guard(pipe, NEVER, STEER, broken)):
        return "images were handed out though the guard had failed"
    scheduler = pipe.scheduler

    def exchange(*_: Any) -> None:
        pipe.scheduler = type(scheduler).from_config(scheduler.config)

    handle = first_of_the_decoder(pipe.vae).register_forward_pre_hook(exchange)
    try:
        closed = _ends(pipe, call, known_guard(pipe, NEVER, STEER))
    finally:
        handle.remove()
        pipe.scheduler = scheduler
    return "" if closed else "images were handed out though the scheduler had been exchanged"


def _ends(pipe: Any, call: Call, guard: LatentGuard) -> bool:
    try:
        with guard.attach(pipe):
            call(pipe)
    except GuardError:
        return True
    return False


def _afterwards_the_pipeline_is_as_before(pipe: Any, call: Call) -> str:
    before = call(pipe)
    with known_guard(pipe, ALWAYS, BLOCK).attach(pipe):
        call(pipe)
    if "step" in vars(pipe.scheduler) or "decode" in vars(pipe.vae):
        return "scheduler or VAE were left changed"
    return "" if np.array_equal(before, call(pipe)) else "the images are others"


@contextmanager
def decoded_by(pipe: Any) -> Iterator[list[Tensor]]:
    """The block in which raw latents (B, C, H, W), float32, are kept as ``vae.decode`` computes with them."""
    kept: list[Tensor] = []

    def keep(_: Any, arguments: tuple[Any, ...]) -> None:
        kept.append(without_frames(arguments[0]).detach().float())

    handle = first_of_the_decoder(pipe.vae).register_forward_pre_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def tolerance(pipe: Any) -> float:
    """By how much latents may differ, relative to the largest, for rounding in the VAE's precision."""
    return 64 * float(torch.finfo(pipe.vae.dtype).eps)
