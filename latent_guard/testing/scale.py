"""Does a guard do the same in latents of another scale? Anybody's pipeline and guard, before and after.

Latents of VAEs differ in scale by a factor of 12. Where raw latents are multiplied and all that reads them divides
(``rescaling``), the same guard must do the same. Where it does not, a length in it means one thing in one latent space
and another in the next: a policy that was measured on one pipeline is not the policy that another one gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latent_guard.errors import InputError
from latent_guard.guidance.guard import GuardedOutput, LatentGuard
from latent_guard.guidance.verdict import Verdict
from latent_guard.testing.rescaling import Factors, rescaled, rescaled_guard, space_of

FACTORS = (0.13, 7.677, 40.0)
MAX_DIFFERENCE = 1.0  # gray levels


@dataclass(frozen=True)
class ScaleResult:
    """How the same images came out of a pipeline whose raw latents were multiplied.

    Attributes:
        factors: of the channels; a single one where all are alike.
        images: how many were compared.
        other_decisions: images about which the guard decided otherwise.
        other_actions: images in which it acted at other steps, or in another way.
        difference: mean absolute difference of the pictures, in gray levels of 256.
    """

    factors: tuple[float, ...]
    images: int
    other_decisions: int
    other_actions: int
    difference: float

    @property
    def holds(self) -> bool:
        """True if decisions and actions are the same, and the pictures within ``MAX_DIFFERENCE``."""
        return self.other_decisions == self.other_actions == 0 and self.difference <= MAX_DIFFERENCE


def check_scale(
    pipe: Any, guard: LatentGuard, prompts: Sequence[str], *, seed: int = 0, **arguments: Any
) -> Iterator[ScaleResult]:
    """Generate under a guard at the pipeline's own scale, then with its raw latents times each of ``FACTORS``.

    Where the latent space has a mean and a deviation for each channel, the last result is of factors that differ from
    channel to channel. Pipeline and guard stay as they are.

    Args:
        pipe: a pipeline that the guard can watch.
        guard: with the policy to be tried.
        prompts: such that the guard acts on some of the images.
        seed: image i is drawn from seed + i.
        arguments: the pipeline's other arguments.

    Raises:
        UnsupportedPipelineError: the VAE is not an ``AutoencoderKL``; and what ``LatentGuard.generate`` raises.
        InputError: the guard acted on no image, so that nothing would be shown.
    """
    space = space_of(pipe)
    own = guard.generate(pipe, list(prompts), seed=seed, **arguments)
    if not any(verdict.actions for verdict in own.verdicts):
        raise InputError(
            f"the guard acted on none of these {len(own.verdicts)} images, so they would show nothing; give prompts of "
            "what it steers or blocks, or more images of each"
        )
    for factors in _factors(space.channels, by_channel=bool(space.std)):
        twin = rescaled_guard(guard, space, factors)
        yield _compared(factors, own, twin.generate(rescaled(pipe, factors), list(prompts), seed=seed, **arguments))


def _factors(channels: int, *, by_channel: bool) -> Iterator[Factors]:
    for factor in FACTORS:
        yield (factor,) * channels
    if by_channel:
        yield tuple(FACTORS[channel % len(FACTORS)] for channel in range(channels))


def _compared(factors: Factors, own: GuardedOutput, other: GuardedOutput) -> ScaleResult:
    pairs = list(zip(own.verdicts, other.verdicts, strict=True))
    return ScaleResult(
        factors=tuple(factors) if len(set(factors)) > 1 else (factors[0],),
        images=len(pairs),
        other_decisions=sum(before.decision is not after.decision for before, after in pairs),
        other_actions=sum(_actions(before) != _actions(after) for before, after in pairs),
        difference=float(np.mean([_distance(*pictures) for pictures in zip(own.images, other.images, strict=True)])),
    )


def _actions(verdict: Verdict) -> list[tuple[str, int, int, str]]:
    return [(action.kind.value, action.attempt, action.step, action.category) for action in verdict.actions]


def _distance(picture: Any, other: Any) -> float:
    """Mean absolute difference of two PIL images, in gray levels."""
    return float(np.abs(np.asarray(picture, dtype=float) - np.asarray(other, dtype=float)).mean())
